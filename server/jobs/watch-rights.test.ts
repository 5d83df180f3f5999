import assert from 'node:assert/strict'
import { get } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { type Identities, identitiesOn } from '../../test/harness/identities.ts'
import { system } from '../platform/actor.ts'
import { hearIdentityNews } from '../platform/identity-news.ts'
import { revoking } from '../platform/revocation.ts'

/** Opens a job's live stream over a socket; resolves when its first event has come, with a promise of its end. */
async function watch({ app }: Identities, jobId: string, token: string): Promise<{ ended: Promise<string> }> {
  if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  const headers = { authorization: `Bearer ${token}` }
  const options = { host: '127.0.0.1', port, path: `/api/v1/jobs/${jobId}/events`, headers, agent: false }
  const begun = Promise.withResolvers<void>()
  const ended = new Promise<string>((resolve, reject) => {
    const request = get(options, (response) => {
      if (response.statusCode !== 200) begun.reject(new Error(`answered ${response.statusCode}`))
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (text.includes('event: state')) begun.resolve()
      })
      response.on('error', () => {}) // cut off: it ends all the same
      response.on('close', () => resolve(text))
    })
    request.on('error', reject)
  })
  await begun.promise
  return { ended }
}

identitiesOn((open, { dialect, again }) => {
  async function openBoth() {
    const hive = await open()
    await hive.setUp()
    // On SQLite one process has the database; on PostgreSQL the readers are at another replica than who revokes.
    return { hive, replica: dialect === 'postgres' ? await again(hive) : hive }
  }
  let opened: ReturnType<typeof openBoth> | undefined
  let scenes = 0

  async function scene() {
    opened ??= openBoth()
    const { hive, replica } = await opened
    const number = ++scenes
    const [ada, bob] = [await hive.person(`ada${number}`), await hive.person(`bob${number}`)]
    const ok = async (method: 'POST', path: string, token: string, body: unknown) => {
      const reply = await hive.call(method, path, { token, body })
      assert.equal(reply.status, 201, JSON.stringify(reply.body))
      return reply.body as Record<string, string>
    }
    const { id: projectId = '' } = await ok('POST', '/api/v1/projects', ada.token, { name: 'honeycomb' })
    await ok('POST', `/api/v1/projects/${projectId}/members`, ada.token, { username: bob.username, role: 'editor' })
    const job = { kind: 'compute', input: { command: ['true'] } }
    const { id: jobId = '' } = await ok('POST', `/api/v1/projects/${projectId}/jobs`, ada.token, job)
    const key = await ok('POST', '/api/v1/api-keys', bob.token, { name: 'watch', scopes: ['jobs:read'] })
    await hearIdentityNews(replica.ctx)
    return { hive, replica, ada, bob, projectId, jobId, key }
  }
  type Scene = Awaited<ReturnType<typeof scene>>
  const member = ({ projectId, bob }: Scene) => `/api/v1/projects/${projectId}/members/${bob.userId}`

  const causes: Record<string, { by: 'session' | 'key'; happen(scene: Scene): Promise<unknown> }> = {
    'is taken out of the project': {
      by: 'session',
      happen: (scene) => scene.hive.call('DELETE', member(scene), { token: scene.ada.token }),
    },
    'is taken out of the project, and watches with a key': {
      by: 'key',
      happen: (scene) => scene.hive.call('DELETE', member(scene), { token: scene.ada.token }),
    },
    'revokes the key it watches with': {
      by: 'key',
      happen: ({ hive, bob, key }) => hive.call('DELETE', `/api/v1/api-keys/${key.id}`, { token: bob.token }),
    },
    'is deactivated': {
      by: 'key',
      happen: ({ hive, bob }) =>
        revoking(hive.ctx, system, async (tx, revoke) => {
          await tx.updateTable('users').set({ deactivatedAt: 1 }).where('id', '=', bob.userId).execute()
          await revoke({ users: [bob.userId] })
        }),
    },
  }
  for (const [what, { by, happen }] of Object.entries(causes))
    test(`the stream of a reader who ${what} ends, at whichever replica, and nobody else’s does`, async () => {
      const made = await scene()
      const { hive, replica, ada, bob, jobId, key } = made
      const theirs = await watch(replica, jobId, by === 'key' ? (key.apiKey ?? '') : bob.token)
      const adas = await watch(replica, jobId, ada.token)
      await happen(made)
      await hearIdentityNews(replica.ctx)
      const text = await theirs.ended
      assert.equal(text.includes('event: end'), false, 'cut off, not finished')
      await hive.call('POST', `/api/v1/jobs/${jobId}/cancel`, { token: ada.token })
      assert.match(await adas.ended, /event: end\ndata: \{"state":"canceled"\}/)
    })

  test('the stream of a key ends when its time is over', async () => {
    const { hive, replica, bob, jobId } = await scene()
    const expiresAt = new Date(hive.ctx.clock.now() + 60_000).toISOString()
    const body = { name: 'short', scopes: ['jobs:read'], expiresAt }
    const { body: key } = await hive.call('POST', '/api/v1/api-keys', { token: bob.token, body })
    const reader = await watch(replica, jobId, String(key.apiKey))
    for (const server of new Set([hive, replica])) server.advance(60_000)
    assert.equal((await reader.ended).includes('event: end'), false)
  })

  test('a reader who became a viewer goes on watching, for a viewer may', async () => {
    const made = await scene()
    const { hive, replica, ada, bob, jobId } = made
    const reader = await watch(replica, jobId, bob.token)
    await hive.call('PATCH', member(made), { token: ada.token, body: { role: 'viewer' } })
    await hearIdentityNews(replica.ctx)
    await hive.call('POST', `/api/v1/jobs/${jobId}/cancel`, { token: ada.token })
    assert.match(await reader.ended, /event: end/)
  })
})
