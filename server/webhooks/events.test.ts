import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { conforms } from '@hivesync/contracts/schema.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { isWebhookEventType, matchesFilter, webhookEvents, webhookFilters } from '@hivesync/contracts/webhook-events.ts'
import * as contract from '@hivesync/contracts/webhooks.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { deliver, listening, localEgress } from './test-webhooks.ts'

describeHive('events', (open) => {
  async function act(hive: Hive, ada: Person, bob: Person, teamId: string): Promise<void> {
    const { token } = ada
    const project = await hive.call(projects.createProject, { token, body: { name: 'comb', teamId } })
    const projectId = project.body.id
    await hive.call(projects.updateProject, { token, params: { projectId }, body: { name: 'honeycomb' } })
    const body = { username: bob.username, role: 'viewer' as const }
    await hive.call(projects.addProjectMember, { token, params: { projectId }, body })
    const member = { projectId, userId: bob.userId }
    await hive.call(projects.changeProjectMember, { token, params: member, body: { role: 'editor' } })
    await hive.call(projects.removeProjectMember, { token, params: member })
    const key = await hive.call(keys.createApiKey, { token, body: { name: 'ci', scopes: ['jobs:write'], projectId } })
    await hive.call(keys.revokeApiKey, { token, params: { apiKeyId: key.body.id } })
    const compute = { kind: 'compute' as const, input: { command: ['true'] } }
    const job = await hive.call(jobs.submitJob, { token, params: { projectId }, body: compute })
    await hive.call(jobs.cancelJob, { token, params: { jobId: job.body.id } })
    const worker = await hive.worker({ teamId })
    const admin = await hive.admin()
    await hive.call(workers.revokeWorker, { token: admin.token, params: { workerId: worker.id } })
    const colleague = { teamId, userId: bob.userId }
    await hive.call(teams.changeTeamMember, { token, params: colleague, body: { role: 'admin' } })
    await hive.call(teams.removeTeamMember, { token, params: colleague })
  }

  test('are told of what is done in a team, each as the catalog states it', async () => {
    await using hive = await open(localEgress)
    await using receiver = await listening()
    const [ada, bob] = [await hive.person('ada'), await hive.person('bob')]
    const team = await hive.call(teams.createTeam, { token: ada.token, body: { name: 'bees' } })
    const teamId = team.body.id
    const row = { teamId, userId: bob.userId, role: 'member' as const, createdAt: 0 }
    await hive.ctx.db.kysely.insertInto('teamMembers').values(row).execute()
    const body = { url: receiver.origin, events: ['*'] }
    assert.equal((await hive.call(contract.createWebhook, { token: ada.token, params: { teamId }, body })).status, 201)
    await act(hive, ada, bob, teamId)
    await deliver(hive)
    const told = receiver.received.map((message) => JSON.parse(message.body))
    assert.deepEqual(told.map(({ type }) => type).sort(), [
      ...['api_key.created', 'api_key.revoked', 'job.canceled', 'job.submitted'],
      ...['member.added', 'member.changed', 'member.changed', 'member.removed', 'member.removed'],
      ...['project.created', 'project.updated', 'worker.enrolled', 'worker.revoked'],
    ])
    for (const { type, data, timestamp } of told) {
      assert.ok(isWebhookEventType(type) && conforms(webhookEvents[type].data, data), `${type} ${JSON.stringify(data)}`)
      assert.equal(timestamp, new Date(hive.clock.now()).toISOString())
    }
    assert.ok(receiver.received.every((message) => message.body.length < 20_000))
  })
})

test('every filter lets something through, a noun all of its own and nothing of another’s', () => {
  const types = Object.keys(webhookEvents)
  for (const filter of webhookFilters)
    assert.ok(
      types.some((type) => matchesFilter(filter, type)),
      filter,
    )
  assert.deepEqual(
    types.filter((type) => matchesFilter('job.*', type)),
    types.filter((type) => type.startsWith('job.')),
  )
  assert.ok(!matchesFilter('job.failed', 'job.failed_again') && !matchesFilter('job.*', 'jobs.failed'))
})

test('every example is what its schema says', () => {
  for (const [type, { data, example }] of Object.entries(webhookEvents)) assert.ok(conforms(data, example), type)
})
