// Credentials are proved before a request's body is read, and whoever sends that slowly holds the request open for half a minute.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import * as admin from '@hivesync/contracts/admin.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { describeHive, type Hive } from '../harness/hive.ts'

describeHive('a request whose body is still on its way', (open) => {
  /** Sends everything but the body, does something else meanwhile, then sends the body; answers the status and the code. */
  async function halfSent(
    hive: Hive,
    endpoint: Endpoint,
    { url, token, headers, body }: { url: string; token: string; headers?: object; body: object },
    meanwhile: () => Promise<unknown>,
  ): Promise<[number, string | undefined]> {
    const asked = Promise.withResolvers<void>()
    const payload = new Readable({ read: () => asked.resolve() })
    const authorization = `Bearer ${token}`
    const reply = hive.inject({
      method: endpoint.method,
      url,
      headers: { ...headers, authorization, 'content-type': 'application/json' },
      payload,
    })
    await asked.promise
    hive.clock.advance(5000)
    await meanwhile()
    payload.push(JSON.stringify(body))
    payload.push(null)
    const { statusCode, body: text } = await reply
    return [statusCode, text === '' ? undefined : JSON.parse(text).code]
  }
  const newTeam = { url: teams.createTeam.path, body: { name: 'theirs' } }

  test('comes to nothing when its session was ended meanwhile', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const { token, sessionId } = await hive.logInAgain('ada')
    const end = () => hive.call(sessions.revokeSession, { token: ada.token, params: { sessionId } })
    assert.deepEqual(await halfSent(hive, teams.createTeam, { ...newTeam, token }, end), [401, 'session_revoked'])
    const wait = async () => undefined
    assert.deepEqual(await halfSent(hive, teams.createTeam, { ...newTeam, token: ada.token }, wait), [201, undefined])
  })

  test('comes to nothing when its key was revoked meanwhile', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const body = { name: 'script', scopes: ['write' as const] }
    const key = (await hive.call(apiKeys.createApiKey, { token: ada.token, body })).body
    const end = () => hive.call(apiKeys.revokeApiKey, { token: ada.token, params: { apiKeyId: key.id } })
    const sent = { ...newTeam, token: key.apiKey }
    assert.deepEqual(await halfSent(hive, teams.createTeam, sent, end), [401, 'invalid_token'])
  })

  test('makes nobody an admin for somebody who is none any more', async () => {
    await using hive = await open()
    const queen = await hive.admin()
    const [mallory, eve] = [await hive.person('mallory'), await hive.person('eve')]
    const setRole = async (userId: string, isAdmin: boolean) => {
      const act = { params: { userId }, body: { isAdmin } }
      const headers = await hive.stepUp(queen, admin.setUserRole, act)
      assert.equal((await hive.call(admin.setUserRole, { token: queen.token, headers, ...act })).status, 200)
    }
    await setRole(mallory.userId, true)
    const act = { params: { userId: eve.userId }, body: { isAdmin: true } }
    const headers = await hive.stepUp(mallory, admin.setUserRole, act)
    const url = admin.setUserRole.path.replace(':userId', eve.userId)
    const sent = { url, token: mallory.token, headers, body: act.body }
    const demote = () => setRole(mallory.userId, false)
    assert.deepEqual(await halfSent(hive, admin.setUserRole, sent, demote), [403, 'permission_denied'])
  })
})
