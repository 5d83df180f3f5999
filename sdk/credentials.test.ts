import assert from 'node:assert/strict'
import test from 'node:test'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { refresh } from '@hivesync/contracts/sessions.ts'
import type { TokenPair, TokenStore } from './index.ts'
import { openClient } from './test-support/open-client.ts'
import { type Peer, Refusal, startPeer } from './test-support/peer.ts'
import { tokensOf, user } from './test-support/samples.ts'

const nowMs = 1_000_000

function storeOf(first: TokenPair | undefined): TokenStore & { tokens: TokenPair | undefined } {
  return {
    tokens: first,
    async load() {
      return this.tokens
    },
    async save(tokens) {
      this.tokens = tokens
    },
    withLock: (work) => work(),
  }
}

function pairOf(number: number, expiresAtMs: number): TokenPair {
  return { accessToken: `access-${number}`, refreshToken: `refresh-${number}`, expiresAtMs }
}

/** Accepts the access token of this number only; a refresh token gives its successor. */
function serveSession(peer: Peer, valid: { number: number }): void {
  peer.on(getMe, ({ headers }) => {
    if (headers.authorization !== `Bearer access-${valid.number}`) throw new Refusal('token_expired')
    return user
  })
  peer.on(refresh, ({ body }) => {
    if (body.refreshToken !== `refresh-${valid.number}`) throw new Refusal('invalid_refresh_token')
    valid.number++
    return tokensOf(valid.number)
  })
}

function open(peer: Peer, store: TokenStore) {
  return openClient({ server: peer.url, credentials: { kind: 'session', store }, now: () => nowMs })
}

const refreshes = (peer: Peer): number => peer.seen.filter((line) => line.includes('/refresh')).length

test('an expired access token is refreshed before it is sent, and kept', async () => {
  await using peer = await startPeer()
  serveSession(peer, { number: 1 })
  const store = storeOf(pairOf(1, nowMs - 1))
  assert.equal((await open(peer, store).call(getMe)).username, 'ada')
  assert.deepEqual(store.tokens, pairOf(2, nowMs + 900_000))
  assert.deepEqual(peer.seen, ['POST /api/v1/auth/refresh', 'GET /api/v1/auth/me'])
})

test('a token that the server calls expired is refreshed and the call sent again, once', async () => {
  await using peer = await startPeer()
  serveSession(peer, { number: 1 })
  const store = storeOf({ ...pairOf(1, nowMs + 900_000), accessToken: 'access-0' })
  await open(peer, store).call(getMe)
  assert.equal(refreshes(peer), 1)
  peer.on(getMe, () => {
    throw new Refusal('token_expired')
  })
  await assert.rejects(open(peer, store).call(getMe), { code: 'token_expired' })
  assert.equal(refreshes(peer), 2)
})

test('calls at the same time share one refresh', async () => {
  await using peer = await startPeer()
  serveSession(peer, { number: 1 })
  const expired = open(peer, storeOf(pairOf(1, nowMs - 1)))
  await Promise.all(Array.from({ length: 20 }, () => expired.call(getMe)))
  assert.equal(refreshes(peer), 1)
  const refused = open(peer, storeOf({ ...pairOf(2, nowMs + 900_000), accessToken: 'access-0' }))
  await Promise.all(Array.from({ length: 20 }, () => refused.call(getMe)))
  assert.equal(refreshes(peer), 2)
})

test('what another process has refreshed in between is used, not refreshed again', async () => {
  await using peer = await startPeer()
  serveSession(peer, { number: 2 })
  const store = storeOf(pairOf(1, nowMs + 900_000))
  const client = open(peer, store)
  const { withLock } = store
  store.withLock = (work) => {
    store.tokens = pairOf(2, nowMs + 900_000)
    return withLock(work)
  }
  await client.call(getMe)
  assert.equal(refreshes(peer), 0)
})

test('a refresh whose reply is lost is asked for again with the same token', async () => {
  await using peer = await startPeer()
  serveSession(peer, { number: 2 })
  let tries = 0
  peer.onRaw(refresh, (request, response) => {
    if (++tries === 1) return request.socket.destroy()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(tokensOf(2)))
  })
  await open(peer, storeOf(pairOf(1, nowMs - 1))).call(getMe)
  assert.equal(tries, 2)
})

test('a session that has ended is not refreshed', async () => {
  await using peer = await startPeer()
  peer.on(getMe, () => {
    throw new Refusal('session_revoked')
  })
  await assert.rejects(open(peer, storeOf(pairOf(1, nowMs + 900_000))).call(getMe), { code: 'session_revoked' })
  await assert.rejects(open(peer, storeOf(undefined)).call(getMe), { code: 'not_logged_in' })
  assert.equal(refreshes(peer), 0)
})
