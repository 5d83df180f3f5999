// One of everything that an operation can name, all of it Ada's.
import * as jobs from '@hivesync/contracts/jobs.ts'
import * as teams from '@hivesync/contracts/teams.ts'
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
  const team = await hive.call(teams.createTeam, { token, body: { name: 'bees' } })
  const params = { teamId: team.body.id }
  const invited = { email: 'invited@example.net', role: 'member' as const }
  const invitation = await hive.call(teams.createInvitation, { token, params, body: invited })
  const externalIdentityId = hive.ctx.random.id()
  const identity = { id: externalIdentityId, userId: ada.userId, issuer: 'https://issuer.example.net', subject: 'ada' }
  await hive.ctx.db.kysely
    .insertInto('externalIdentities')
    .values({ ...identity, createdAt: hive.clock.now() })
    .execute()
  return {
    projectId,
    jobId: job.body.id,
    teamId: team.body.id,
    invitationId: invitation.body.id,
    externalIdentityId,
    userId: ada.userId,
    sessionId: ada.sessionId,
    workerId: worker.id,
    factorId: (await addPasskey(hive, ada)).factorId,
    token: '1',
  }
}
