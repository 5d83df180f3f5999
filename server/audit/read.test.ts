import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Scope } from '@hivesync/contracts/access.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/audit.ts'
import * as teams from '@hivesync/contracts/teams.ts'
import { isConsistent, isIncluded, leafHash } from '@hivesync/protocol/merkle.ts'
import { openCheckpoint, readVerifierKey } from '@hivesync/protocol/signed-note.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { type Actor, nobody } from '../platform/actor.ts'
import { run } from '../platform/db/statement.ts'
import { insertAudits } from './audit.ts'
import { csvRow } from './csv.ts'
import { record } from './test-log.ts'
import { verifyExport } from './verify-export.ts'

const bytes = (hashes: readonly string[]): Buffer[] => hashes.map((hash) => Buffer.from(hash, 'base64'))

test('a field that a spreadsheet would compute is text, and every field is one field', () => {
  const cells = [
    '=1+1',
    '+1',
    '-1',
    '@SUM(A1)',
    '\t=1',
    ' =1',
    '|cmd',
    '%0a',
    'a"b',
    'a,b',
    'a\r\nb',
    null,
    '2026-11-21',
  ]
  assert.equal(
    csvRow(cells),
    `"'=1+1","'+1","'-1","'@SUM(A1)","'\t=1","' =1","'|cmd","'%0a","a""b","a,b","a\r\nb","","2026-11-21"\r\n`,
  )
})

describeHive('reading the audit log', (open) => {
  let hive: Hive
  let queen: Person
  let ada: Person
  let bob: Person
  let teamId: string

  before(async () => {
    hive = await open()
    queen = await hive.admin()
    ada = await hive.person('ada')
    bob = await hive.person('bob')
    teamId = (await hive.call(teams.createTeam, { token: ada.token, body: { name: 'bees' } })).body.id
  })
  after(() => hive[Symbol.asyncDispose]())

  const list = (who: { token: string }, query: Record<string, string> = {}) =>
    hive.call(contract.listAudit, { token: who.token, query })
  const fetchText = async (who: { token: string }, path: string) => {
    const reply = await hive.inject({ method: 'GET', url: path, headers: { authorization: `Bearer ${who.token}` } })
    return { status: reply.statusCode, type: String(reply.headers['content-type']), text: reply.body }
  }
  const by = (who: Person): Actor => ({
    ...nobody,
    kind: 'user',
    id: who.userId,
    userId: who.userId,
    requestId: 'request-1',
    ip: '203.0.113.0/24',
  })
  const act = (who: Person, acts: readonly { action: string; team?: string; target?: string }[]) =>
    hive.ctx.db.transaction(async (tx) => {
      const rows = acts.map(({ action, team, target }) => ({
        actor: by(who),
        action,
        teamId: team ?? null,
        ...(target !== undefined && { target: { kind: 'thing', id: target } }),
      }))
      await run(tx, insertAudits(hive.ctx, rows))
    })

  test('an admin reads all of it, newest first, page by page', async () => {
    await record(hive, 30)
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const { status, body } = await list(queen, { limit: '17', ...(cursor !== null && { cursor }) })
      assert.equal(status, 200)
      assert.ok(body.items.length <= 17)
      seen.push(...body.items.map(({ id }) => id))
      cursor = body.nextCursor
    } while (cursor !== null)
    const rows = await hive.ctx.db.kysely.selectFrom('auditEvents').select('id').orderBy('id', 'desc').execute()
    assert.deepEqual(
      seen,
      rows.map(({ id }) => id),
    )
  })

  test('every filter takes its own, and several take what matches all', async () => {
    await act(ada, [
      { action: 'comb.built', team: teamId, target: 'comb-1' },
      { action: 'comb.built', target: 'comb-2' },
    ])
    const count = async (query: Record<string, string>) => (await list(queen, query)).body.items.length
    assert.equal(await count({ action: 'comb.built' }), 2)
    assert.equal(await count({ action: 'comb.built', target: 'comb-1' }), 1)
    assert.equal(await count({ action: 'comb.built', teamId }), 1)
    assert.equal(await count({ action: 'comb.built', actor: ada.userId }), 2)
    assert.equal(await count({ action: 'comb.built', actor: bob.userId }), 0)
    assert.equal(await count({ action: 'comb.built', outcome: 'refused' }), 0)
    const now = new Date(hive.clock.now()).toISOString()
    assert.equal(await count({ action: 'comb.built', since: now }), 2)
    assert.equal(await count({ action: 'comb.built', until: now }), 0)
    assert.equal((await list(queen, { since: 'yesterday' })).status, 400)
  })

  test('an owner reads that of the own team and nothing else, and nobody else any', async () => {
    await hive.ctx.db.kysely
      .insertInto('teamMembers')
      .values({ teamId, userId: bob.userId, role: 'admin', createdAt: 0 })
      .execute()
    const own = await list(ada, { teamId })
    assert.equal(own.status, 200)
    assert.ok(own.body.items.length > 0)
    assert.ok(own.body.items.every((event) => event.teamId === teamId))
    assert.equal((await list(ada)).problem.code, 'permission_denied')
    assert.equal((await list(ada, { actor: ada.userId })).problem.code, 'permission_denied')
    assert.equal((await list(bob, { teamId })).problem.code, 'permission_denied')
    assert.equal((await list(ada, { teamId: bob.teamId })).problem.code, 'team_not_found')
    for (const path of ['export', 'export?format=jsonl', `export?teamId=${bob.teamId}`, 'log'])
      assert.ok([403, 404].includes((await fetchText(ada, `/api/v1/audit/${path}`)).status), path)
  })

  test('a key reads what its person may, if its scopes say so, and one bound to a project nothing', async () => {
    const keyOf = async (who: Person, scopes: Scope[], projectId?: string) => {
      const body = { name: 'siem', scopes, ...(projectId !== undefined && { projectId }) }
      return { token: (await hive.call(apiKeys.createApiKey, { token: who.token, body })).body.apiKey }
    }
    assert.equal((await list(await keyOf(queen, ['admin']))).status, 200)
    assert.equal((await list(await keyOf(queen, ['teams:read']))).problem.code, 'permission_denied')
    assert.equal((await list(await keyOf(ada, ['teams:read']), { teamId })).status, 200)
    assert.equal((await list(await keyOf(ada, ['jobs:read']), { teamId })).problem.code, 'permission_denied')
    const bound = await keyOf(ada, ['teams:read'], await hive.project(ada))
    assert.equal((await list(bound, { teamId })).problem.code, 'team_not_found')
  })

  test('where somebody was is told to admins and to that person', async () => {
    await act(ada, [{ action: 'wax.made', team: teamId }])
    await act(bob, [{ action: 'wax.made', team: teamId }])
    const seen = async (who: Person) => {
      const { body } = await list(who, { teamId, action: 'wax.made' })
      return body.items.map(({ actor, ip }) => [actor.id === ada.userId ? 'ada' : 'bob', ip])
    }
    const expected = [
      ['bob', null],
      ['ada', '203.0.113.0/24'],
    ]
    assert.deepEqual(await seen(ada), expected, 'while it waits to be sealed')
    await record(hive, 1)
    assert.deepEqual(await seen(ada), expected, 'and after')
    assert.deepEqual(
      (await seen(queen)).map(([, ip]) => ip),
      ['203.0.113.0/24', '203.0.113.0/24'],
    )
  })

  test('what is rare is found however far away, in pages that are short', async () => {
    await act(ada, [{ action: 'needle.lost' }])
    for (let round = 0; round < 21; round++)
      await act(
        ada,
        Array.from({ length: 1000 }, () => ({ action: 'hay.made' })),
      )
    const first = await list(queen, { action: 'needle.lost' })
    assert.deepEqual(first.body.items, [])
    assert.ok(first.body.nextCursor)
    const second = await list(queen, { action: 'needle.lost', cursor: first.body.nextCursor })
    assert.equal(second.body.items.length, 1)
    assert.equal(second.body.nextCursor, null)
    const { text } = await fetchText(queen, '/api/v1/audit/export?format=jsonl&action=needle.lost')
    assert.equal(text.trimEnd().split('\n').length, 1)
  })

  test('an export has every event that matches, is itself an event, and comes one at a time', async () => {
    const path = `/api/v1/audit/export?teamId=${teamId}`
    const csv = await fetchText(ada, path)
    assert.deepEqual([csv.status, csv.type], [200, 'text/csv; charset=utf-8; header=present'])
    const { items } = (await list(ada, { teamId, limit: '200' })).body
    const ids = csv.text
      .split('\r\n')
      .slice(1, -1)
      .map((line) => line.slice(1, 37))
    // The newest of the list is the export's own event.
    assert.deepEqual(ids.toReversed().slice(1), items.map(({ id }) => id).slice(1))
    assert.equal(items[0]?.action, 'audit.exported')
    const both = await Promise.all([fetchText(ada, path), fetchText(ada, `${path}&format=jsonl`)])
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 409])
    assert.equal((await fetchText(ada, path)).status, 200, 'and the next when it has ended')
  })

  test('the log of an admin’s export proves itself with the keys that were told before', async () => {
    const { body } = await hive.call(contract.getAuditCheckpoint, { token: bob.token })
    const verifiers = body.keys.map(readVerifierKey)
    assert.equal(openCheckpoint(body.note, verifiers).size, body.size)
    const { text } = await fetchText(queen, '/api/v1/audit/log')
    assert.doesNotMatch(text, /203\.0\.113/)
    const lines = async function* () {
      yield* text.trimEnd().split('\n')
    }
    const result = await verifyExport(lines(), verifiers, [body.note])
    assert.deepEqual([result.outcome, result.findings], ['ok', []])
    assert.ok(result.size > body.size)
  })

  test('an event is proved to be in the log, and the log to have only grown', async () => {
    await act(ada, [{ action: 'honey.made', team: teamId }])
    const [event] = (await list(ada, { teamId, action: 'honey.made' })).body.items
    const query = { eventId: event?.id ?? '' }
    const { body: proof } = await hive.call(contract.getAuditProof, { token: ada.token, query })
    const { body: head } = await hive.call(contract.getAuditCheckpoint, { token: ada.token })
    assert.match(proof.leaf, /"honey\.made"/)
    const verifiers = head.keys.map(readVerifierKey)
    const { root, size } = openCheckpoint(proof.checkpoint ?? '', verifiers)
    const claim = { index: proof.seq, size, leaf: leafHash(proof.leaf), root, proof: bytes(proof.hashes) }
    assert.ok(isIncluded(claim))
    await record(hive, 300)
    const { body: later } = await hive.call(contract.getAuditCheckpoint, { token: ada.token })
    const sizes = { from: String(size), to: String(later.size) }
    const { body: grown } = await hive.call(contract.getAuditConsistency, { token: bob.token, query: sizes })
    const toRoot = Buffer.from(later.root, 'base64')
    assert.ok(isConsistent({ from: size, to: later.size, fromRoot: root, toRoot, proof: bytes(grown.hashes) }))
    const older = await hive.call(contract.getAuditProof, { token: ada.token, query: { ...query, size: String(size) } })
    assert.deepEqual(older.body.hashes, proof.hashes)
  })

  test('somebody else’s event does not exist, and neither does a tree of another size', async () => {
    await act(ada, [{ action: 'honey.sold', team: teamId }, { action: 'honey.eaten' }])
    const events = [...(await list(queen, { actor: ada.userId, action: 'honey.sold' })).body.items]
    events.push(...(await list(queen, { actor: ada.userId, action: 'honey.eaten' })).body.items)
    assert.equal(events.length, 2)
    const cleo = await hive.person('cleo')
    for (const { id } of [...events, { id: hive.ctx.random.id() }])
      for (const who of [cleo, bob]) {
        const { problem } = await hive.call(contract.getAuditProof, { token: who.token, query: { eventId: id } })
        assert.equal(problem.code, 'audit_event_not_found')
      }
    const eventId = events[0]?.id ?? ''
    for (const size of ['0', '1', '999999999']) {
      const { problem } = await hive.call(contract.getAuditProof, { token: queen.token, query: { eventId, size } })
      assert.equal(problem.code, 'audit_size_unknown')
    }
    for (const query of [
      { from: '5', to: '4' },
      { from: '0', to: '999999999' },
    ]) {
      const { problem } = await hive.call(contract.getAuditConsistency, { token: queen.token, query })
      assert.equal(problem.code, 'audit_size_unknown')
    }
  })
})
