// One of everything that an operation can name, all of it Ada's.
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as schedules from '@hivesync/contracts/schedules.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import * as webhooks from '@hivesync/contracts/webhooks.ts'
import type { Hive, Person, TestWorker } from '../harness/hive.ts'
import { addPasskey } from '../harness/proofs.ts'

/** Ids by the name of the parameter; an operation with a new parameter fails in the matrix until it is named here. */
export type Things = Record<string, string>

/** Makes them; an API key's id is to be added by whoever makes keys. */
export async function createThings(hive: Hive, ada: Person, worker: TestWorker): Promise<Things> {
  const { token } = ada
  const projectId = await hive.project(ada)
  const body = { kind: 'compute' as const, input: { command: ['true'] } }
  const job = await hive.call(jobs.submitJob, { token, params: { projectId }, body })
  const schedule = await hive.call(schedules.createSchedule, {
    token,
    params: { projectId },
    body: { name: 'nightly', cron: '0 3 * * *', job: body },
  })
  const team = await hive.call(teams.createTeam, { token, body: { name: 'bees' } })
  const params = { teamId: team.body.id }
  const invited = { email: 'invited@example.net', role: 'member' as const }
  const invitation = await hive.call(teams.createInvitation, { token, params, body: invited })
  const listener = { url: 'https://8.8.8.8/', events: ['*'] }
  const webhook = await hive.call(webhooks.createWebhook, { token, params, body: listener })
  const tested = await hive.call(webhooks.testWebhook, { token, params: { ...params, webhookId: webhook.body.id } })
  const externalIdentityId = hive.ctx.random.id()
  const identity = { id: externalIdentityId, userId: ada.userId, issuer: 'https://issuer.example.net', subject: 'ada' }
  await hive.ctx.db.kysely
    .insertInto('externalIdentities')
    .values({ ...identity, createdAt: hive.clock.now() })
    .execute()
  const { artifactId, bundleId } = await storeThings(hive, ada, { projectId, jobId: job.body.id })
  return {
    artifactId,
    bundleId,
    projectId,
    jobId: job.body.id,
    scheduleId: schedule.body.id,
    kind: 'compute',
    name: 'compute',
    teamId: team.body.id,
    invitationId: invitation.body.id,
    webhookId: webhook.body.id,
    deliveryId: tested.body.id,
    externalIdentityId,
    userId: ada.userId,
    sessionId: ada.sessionId,
    workerId: worker.id,
    enrolmentId: await enrolmentOf(hive, worker),
    factorId: (await addPasskey(hive, ada)).factorId,
    alertId: await alertOf(hive),
    tier: 'free',
    token: '1',
  }
}

async function enrolmentOf(hive: Hive, { id }: TestWorker): Promise<string> {
  const { enrolmentId } = await hive.ctx.db.kysely
    .selectFrom('workers')
    .select('enrolmentId')
    .where('id', '=', id)
    .executeTakeFirstOrThrow()
  return enrolmentId ?? ''
}

/** An artifact and a bundle; what lies behind them is nothing that an operation refused may reach. */
async function storeThings(hive: Hive, { teamId }: Person, { projectId, jobId }: { projectId: string; jobId: string }) {
  const now = hive.clock.now()
  const [artifactId, bundleId] = [hive.ctx.random.id(), hive.ctx.random.id()]
  const stored = { projectId, teamId, bytes: 1, sha256: '0'.repeat(64), createdAt: now, expiresAt: now + 86_400_000 }
  const db = hive.ctx.db.kysely
  await db
    .insertInto('artifacts')
    .values({ ...stored, id: artifactId, jobId, token: 1, state: 'committed', path: 'out', objectKey: '0'.repeat(64) })
    .execute()
  await db
    .insertInto('bundles')
    .values({ ...stored, id: bundleId, objectKey: '1'.repeat(64), unpackedBytes: 1, entries: 1, createdByUser: null })
    .execute()
  return { artifactId, bundleId }
}

async function alertOf(hive: Hive): Promise<string> {
  const id = hive.ctx.random.id()
  const now = hive.clock.now()
  const alert = {
    id,
    kind: 'test',
    subject: '',
    severity: 'warning',
    detail: 'of a test',
    raisedAt: now,
    lastAt: now,
  } as const
  await hive.ctx.db.kysely.insertInto('alerts').values(alert).execute()
  return id
}
