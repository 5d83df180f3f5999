import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Job } from '@hivesync/contracts/jobs.ts'
import { startReceiver } from '../../server/platform/net/test-receiver.ts'
import { install, setUp } from './installation.ts'

interface AuditEvents {
  items: { action: string; requestId: string | null; actor: { kind: string } }[]
}

test('one id leads from a request through the server, its job, the worker, the audit log and the webhook', async () => {
  const requestId = 'follow-me-through-0001'
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  const receiver = await startReceiver()
  await using hive = await install({ HIVESYNC_EGRESS_ALLOW: '127.0.0.0/8' })
  try {
    await setUp(hive)
    await hive.json('webhook', 'new', receiver.origin, '--event', 'job.succeeded')
    await hive.line((line) => line.includes('"worker_ready"'))
    const ask = async <T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
      const reply = await fetch(hive.url + path, {
        method,
        headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      assert.ok(reply.ok, `${path} ${reply.status}`)
      return (await reply.json()) as T
    }
    const login = { login: 'queen', password: 'nine amber drones hum at noon' }
    const { accessToken } = await ask<{ accessToken: string }>('POST', '/api/v1/auth/login', login)
    const authorization = `Bearer ${accessToken}`
    const { items } = await ask<{ items: { id: string }[] }>('GET', '/api/v1/projects', undefined, { authorization })
    const submission = { kind: 'compute', input: { command: ['echo', 'hello'] } }
    const path = `/api/v1/projects/${items[0]?.id}/jobs`
    const headers = { authorization, 'x-request-id': requestId, traceparent }
    const job = await ask<Job>('POST', path, submission, headers)
    assert.equal(job.requestId, requestId)

    await hive.cli('job', 'watch', job.id)
    assert.match((await hive.cli('job', 'get', job.id)).stdout, new RegExp(`request +${requestId}`))

    // The server's line of the submission, the worker's of the run, and the server's of what the worker asked for it.
    const carries = (text: string) => (line: string) => line.includes(requestId) && line.includes(text)
    await hive.line(carries('"route":"/api/v1/projects/:projectId/jobs"'))
    for (const event of ['"job_started"', '"job_ended"']) await hive.line(carries(event))
    await hive.line(carries('"actor":"worker"'))

    const { items: audited } = await ask<AuditEvents>('GET', '/api/v1/audit', undefined, { authorization })
    const ofJob = audited.filter(({ action }) => action.startsWith('job.'))
    assert.deepEqual(ofJob.map(({ action }) => action).sort(), ['job.submitted', 'job.succeeded'])
    for (const { action, requestId: found } of ofJob) assert.equal(found, requestId, action)

    await receiver.arrived(1)
    const { type, data } = JSON.parse(receiver.received[0]?.body ?? '{}')
    assert.equal(type, 'job.succeeded')
    assert.equal(data.requestId, requestId)
  } finally {
    await receiver.close()
  }
})
