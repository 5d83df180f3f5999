import * as accounts from '@hivesync/contracts/accounts.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import type { Tier } from '@hivesync/contracts/tiers.ts'
import * as protocol from '@hivesync/contracts/worker-protocol.ts'
import * as workers from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import type { HttpClient } from './client.ts'
import { setupToken } from './installation.ts'
import type { WorkerIdentity } from './light-worker.ts'
import type { Rows } from './rows.ts'

const password = 'violet amber wings hum at dusk'

export interface Tenants {
  /** Of an admin, who owns all the teams; unlike an access token it does not end during the run. */
  apiKey: string
  projects: { id: string; teamId: string; tier: Tier }[]
  identities: WorkerIdentity[]
  /** For the real workers, one each. */
  enrolmentTokens: string[]
}

/** Makes the admin, teams of every plan with two projects each, and workers. The plans are set by SQL, before the teams' first job: no operation sells one. */
export async function createTenants(
  http: HttpClient,
  rows: Rows,
  count: { light: number; real: number },
): Promise<Tenants> {
  await post(http, accounts.setUp, undefined, { setupToken, email: 'queen@example.net', username: 'queen', password })
  const login = await post<{ accessToken: string }>(http, sessions.logIn, undefined, { login: 'queen', password })
  const session = login.accessToken
  const asQueen = <T>(endpoint: Endpoint, body: object): Promise<T> => post<T>(http, endpoint, session, body)

  const made: Tenants['projects'] = []
  for (const tier of ['free', 'pro', 'enterprise', 'enterprise'] as const) {
    const team = await asQueen<{ id: string }>(teams.createTeam, { name: `${tier} bees` })
    await rows.write(`update teams set tier = '${tier}' where id = '${team.id}'`)
    await listen(rows, team.id)
    for (const name of ['comb', 'wax']) {
      const project = await asQueen<{ id: string }>(projects.createProject, { name, teamId: team.id })
      made.push({ id: project.id, teamId: team.id, tier })
    }
  }
  const enrol = (): Promise<{ enrolmentToken: string }> => asQueen(workers.createEnrolment, {})
  const identities: WorkerIdentity[] = []
  for (let number = 0; number < count.light; number++) {
    const { enrolmentToken } = await enrol()
    const keys = generateEncodedKeyPair()
    const body = { enrolmentToken, name: `light-${number}`, publicKey: keys.publicKey }
    const { workerId } = await post<{ workerId: string }>(http, protocol.enrolWorker, undefined, body)
    identities.push({ workerId, keys })
  }
  const enrolmentTokens: string[] = []
  for (let number = 0; number < count.real; number++) enrolmentTokens.push((await enrol()).enrolmentToken)
  const key = { name: 'chaos', scopes: ['read', 'write'], rateLimitPerHour: 100_000 }
  const { apiKey } = await asQueen<{ apiKey: string }>(apiKeys.createApiKey, key)
  return { apiKey, projects: made, identities, enrolmentTokens }
}

async function post<T>(http: HttpClient, endpoint: Endpoint, bearer: string | undefined, body: object): Promise<T> {
  const authorization: Record<string, string> = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
  const headers = { 'content-type': 'application/json', ...authorization }
  const answer = await http.send({
    method: 'POST',
    target: endpoint.path,
    headers,
    body: Buffer.from(JSON.stringify(body)),
  })
  if (answer.status !== endpoint.status)
    throw new Error(`${endpoint.name}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body as T
}

/** A webhook of the team that is switched off: every event becomes a delivery that is skipped and kept, which tells what was put into the outbox and handed out. */
async function listen(rows: Rows, teamId: string): Promise<void> {
  await rows.write(
    `insert into webhooks (id, team_id, url, events, created_at, updated_at, disabled_at, disabled_reason)
     values ('${teamId}', '${teamId}', 'https://hooks.example.net/', '["*"]', 0, 0, 1, 'by_hand')`,
  )
}
