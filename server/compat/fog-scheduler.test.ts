import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import * as contract from '@hivesync/contracts/fog-scheduler.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { getJob } from '../../test/harness/jobs.ts'

type FogJob = BodyOf<typeof contract.submitFogJob>
const fogJob: FogJob = { name: 'render', sla_tier: 'gold', cpu_required: 2, memory_required: 0.5 }
const submit = (hive: Hive, { token }: { token: string }, change: Partial<FogJob> = {}) =>
  hive.call(contract.submitFogJob, { token, body: { ...fogJob, ...change } })

describeHive('/api/scheduler/jobs', (open) => {
  test('answers in Fog’s words and queues a compute job with the priority of its service level', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { jobId, ...rest } = (await submit(hive, ada)).body
    assert.deepEqual(rest, { success: true, status: 'pending', estimatedStartTime: null, sla: 'gold' })
    const job = await getJob(hive, ada, jobId)
    assert.deepEqual([job.kind, job.priority, job.state], ['compute', 7, 'queued'])
    assert.deepEqual(job.input, {
      command: ['true'],
      env: { FOG_JOB_NAME: 'render' },
      limits: { memoryMiB: 512, wallSeconds: 300 },
    })
  })

  test('requirements become limits; a job that needs a graphics device waits for one', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const change = { sla_tier: 'BRONZE', gpu_required: 1, duration_estimate: 20, data_size_mb: 700.5 } as const
    const { body } = await submit(hive, ada, { ...change, command: ['python3', 'x.py'], env: { A: '1' } })
    assert.equal(body.sla, 'bronze')
    const job = await getJob(hive, ada, body.jobId)
    assert.deepEqual([job.priority, job.labels], [3, ['gpu']])
    const { command, env, limits } = job.input as Record<string, unknown>
    assert.deepEqual(command, ['python3', 'x.py'])
    assert.deepEqual(env, { FOG_JOB_NAME: 'render', A: '1' })
    assert.deepEqual(limits, { memoryMiB: 512, wallSeconds: 2400, diskMiB: 701 })
  })

  test('what a job cannot be given is refused, not cut down', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const refused = [{ memory_required: 4.1 }, { duration_estimate: 61 }, { data_size_mb: 1025 }, { cpu_required: -1 }]
    for (const change of refused) assert.equal((await submit(hive, ada, change)).problem.code, 'invalid_request')
    assert.equal((await submit(hive, ada, { sla_tier: 'tin' as 'gold' })).status, 400)
  })

  test('all jobs of a person go into one project, those of a bound key into its own', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const first = await getJob(hive, ada, (await submit(hive, ada)).body.jobId)
    const second = await getJob(hive, ada, (await submit(hive, ada)).body.jobId)
    assert.equal(first.projectId, second.projectId)
    assert.equal((await hive.call(projects.listProjects, { token: ada.token })).body.items.length, 1)
    const projectId = await hive.project(ada)
    const key = await hive.call(keys.createApiKey, {
      token: ada.token,
      body: { name: 'fog', scopes: ['write'], projectId },
    })
    const third = await getJob(hive, ada, (await submit(hive, { token: key.body.apiKey })).body.jobId)
    assert.equal(third.projectId, projectId)
    assert.notEqual((await getJob(hive, eve, (await submit(hive, eve)).body.jobId)).projectId, first.projectId)
  })

  test('DELETE cancels, once more changes nothing, and nobody else’s job exists', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const { jobId } = (await submit(hive, ada)).body
    const cancel = (token: string) => hive.call(contract.cancelFogJob, { token, params: { jobId } })
    assert.equal((await cancel(eve.token)).problem.code, 'job_not_found')
    for (let i = 0; i < 2; i++)
      assert.deepEqual((await cancel(ada.token)).body, { success: true, jobId, status: 'cancelled' })
    assert.equal((await getJob(hive, ada, jobId)).state, 'canceled')
  })
})
