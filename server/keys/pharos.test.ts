import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Identities, identitiesOn } from '../../test/harness/identities.ts'
import type { Context } from '../platform/context.ts'
import { sha256Hex } from '../platform/crypto/hash.ts'
import { createBearerAuthenticator, importPharosToken } from './keys.ts'

const [firstToken, secondToken] = ['pharos-admin-token-0123456789-abcdef', 'another-admin-token-0123456789-abcdef']

identitiesOn((open, { dialect, again }) => {
  /** The same server as it would start with another value of the setting. */
  const withToken = (hive: Identities, pharosToken: string | null): Context => ({
    ...hive.ctx,
    config: { ...hive.ctx.config, pharosToken },
  })
  const keysIn = (hive: Identities) =>
    hive.ctx.db.kysely.selectFrom('apiKeys').selectAll().where('userId', 'is', null).orderBy('id').execute()
  const projectsIn = (hive: Identities) => hive.ctx.db.kysely.selectFrom('projects').selectAll().execute()

  async function codeOf(ctx: Context, token: string): Promise<string> {
    const bearer = createBearerAuthenticator(ctx)
    try {
      const identity = await bearer(token)
      await bearer.settled()
      return identity.kind
    } catch (error) {
      return error instanceof Error ? error.message : 'unknown'
    }
  }

  test('the configured token becomes a key for ingests, bound to its own project, stored as a hash', async () => {
    const hive = await open({ config: { pharosToken: firstToken } })
    await importPharosToken(hive.ctx)
    const [key, ...others] = await keysIn(hive)
    const [project] = await projectsIn(hive)
    assert.equal(others.length, 0)
    assert.deepEqual(
      [key?.scopes, key?.projectId, key?.secretHash, project?.name],
      ['["ingest"]', project?.id, sha256Hex(firstToken), 'Pharos'],
    )
    const bearer = createBearerAuthenticator(hive.ctx)
    const identity = await bearer(firstToken)
    await bearer.settled()
    assert.deepEqual(
      [identity.kind, identity.id, identity.userId, identity.projectId, identity.isAdmin],
      ['key', key?.id, null, project?.id, false],
    )
    assert.deepEqual([...identity.permissions].sort(), ['ingest:read', 'ingest:write'])
    const everything = JSON.stringify([await keysIn(hive), await hive.audited('api_key.created'), hive.logLines])
    assert.ok(!everything.includes(firstToken.slice(0, 12)))
    const me = await hive.call('GET', '/api/v1/auth/me', { token: firstToken })
    assert.equal(me.body.code, 'permission_denied')
  })

  test('starting again changes nothing', async () => {
    const hive = await open({ config: { pharosToken: firstToken } })
    await importPharosToken(hive.ctx)
    const before = await keysIn(hive)
    await importPharosToken(hive.ctx)
    await Promise.all([importPharosToken(hive.ctx), importPharosToken(hive.ctx)])
    assert.deepEqual(await keysIn(hive), before)
    assert.equal((await projectsIn(hive)).length, 1)
  })

  test('a changed value replaces the key and keeps the project, and the old one is refused', async () => {
    const hive = await open()
    const [first, second] = [withToken(hive, firstToken), withToken(hive, secondToken)]
    await importPharosToken(first)
    assert.equal(await codeOf(first, firstToken), 'key')
    await importPharosToken(second)
    assert.equal(await codeOf(second, secondToken), 'key')
    assert.equal(await codeOf(second, firstToken), 'invalid_token')
    // Even where the old value is still configured: at a replica that has not started anew.
    assert.equal(await codeOf(first, firstToken), 'invalid_token')
    assert.equal(new Set((await keysIn(hive)).map((key) => key.projectId)).size, 1)
    assert.equal((await projectsIn(hive)).length, 1)
  })

  test('without the setting the key is revoked; set back, it is good again', async () => {
    const hive = await open()
    const [on, off] = [withToken(hive, firstToken), withToken(hive, null)]
    await importPharosToken(off)
    assert.deepEqual(await projectsIn(hive), [])
    await importPharosToken(on)
    await importPharosToken(off)
    assert.equal(await codeOf(on, firstToken), 'invalid_token')
    await importPharosToken(on)
    assert.equal(await codeOf(on, firstToken), 'key')
    assert.equal((await keysIn(hive)).length, 1)
    assert.equal((await hive.audited('api_key.revoked')).length, 1)
    assert.equal((await hive.audited('api_key.restored')).length, 1)
  })

  test('the API key of a person is not taken for it', async () => {
    const hive = await open()
    const root = await hive.setUp()
    const made = await hive.call('POST', '/api/v1/api-keys', {
      token: root.token,
      body: { name: 'mine', scopes: ['read'] },
    })
    await assert.rejects(importPharosToken(withToken(hive, String(made.body.apiKey))), /is the API key of a person/)
    assert.deepEqual(await projectsIn(hive), [])
  })

  test('a value that no client could present is said to be unusable', async () => {
    const hive = await open()
    for (const token of ['a token with spaces, 32 characters', 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln'])
      await importPharosToken(withToken(hive, token))
    assert.equal(hive.logLines.filter((line) => line.includes('pharos_token_unusable')).length, 2)
  })

  test('replicas that start together make one key and one project', { skip: dialect === 'sqlite' }, async () => {
    const one = await open({ config: { pharosToken: firstToken } })
    const two = await again(one, { config: { pharosToken: firstToken } })
    await Promise.all([one, two, one, two].map((server) => importPharosToken(server.ctx)))
    assert.equal((await keysIn(one)).length, 1)
    assert.equal((await projectsIn(one)).length, 1)
  })
})
