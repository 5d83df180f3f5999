import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import * as contract from '@hivesync/contracts/egress.ts'
import * as projects from '@hivesync/contracts/projects.ts'
import { describeHive, type Hive, type Person } from '../../test/harness/hive.ts'
import { egressOf } from './egress.ts'

describeHive('egress', (open) => {
  const set = (hive: Hive, { token }: { token: string }, projectId: string, hosts: string[]) =>
    hive.call(contract.setEgress, { token, params: { projectId }, body: { hosts } })
  const get = (hive: Hive, { token }: { token: string }, projectId: string) =>
    hive.call(contract.getEgress, { token, params: { projectId } })
  const audited = (hive: Hive) =>
    hive.ctx.db.kysely
      .selectFrom('auditEvents')
      .select(['actorId', 'projectId', 'details'])
      .where('action', '=', 'project.egress_changed')
      .orderBy('id')
      .execute()

  async function member(hive: Hive, ada: Person, projectId: string, role: 'viewer' | 'editor'): Promise<Person> {
    const person = await hive.person(role)
    await hive.call(projects.addProjectMember, {
      ...{ token: ada.token, params: { projectId }, body: { username: role, role } },
    })
    return person
  }

  test('a project reaches nothing until an owner names hosts, and then exactly those', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    assert.deepEqual((await get(hive, ada, projectId)).body, { hosts: [] })
    const hosts = ['registry.npmjs.org', '*.example.net']
    assert.deepEqual((await set(hive, ada, projectId, hosts)).body, { hosts: ['*.example.net', 'registry.npmjs.org'] })
    await set(hive, ada, projectId, ['registry.npmjs.org', 'a.example.org'])
    assert.deepEqual((await get(hive, ada, projectId)).body, { hosts: ['a.example.org', 'registry.npmjs.org'] })
    const claims = await egressOf(hive.ctx.db.kysely, [projectId, await hive.project(ada)])
    assert.deepEqual(
      [...claims.values()].map((claim) => claim.hosts),
      [['a.example.org', 'registry.npmjs.org'], []],
    )
  })

  test('each change is audited with the names that came and went, and none when nothing changed', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    for (const hosts of [['b.example.org', 'a.example.org'], ['a.example.org', 'b.example.org'], ['c.example.org']])
      assert.equal((await set(hive, ada, projectId, hosts)).status, 200)
    const rows = await audited(hive)
    assert.deepEqual(
      rows.map(({ details }) => JSON.parse(details)),
      [
        { added: 'b.example.org a.example.org', removed: '', hosts: 2 },
        { added: 'c.example.org', removed: 'a.example.org b.example.org', hosts: 1 },
      ],
    )
    assert.ok(rows.every((row) => row.projectId === projectId && row.actorId === ada.userId))
  })

  test('members read the list, only owners write it, and for strangers there is none', async () => {
    await using hive = await open()
    const [ada, eve] = [await hive.person('ada'), await hive.person('eve')]
    const projectId = await hive.project(ada)
    for (const role of ['viewer', 'editor'] as const) {
      const person = await member(hive, ada, projectId, role)
      assert.equal((await get(hive, person, projectId)).status, 200)
      assert.equal((await set(hive, person, projectId, ['evil.example.org'])).problem.code, 'permission_denied')
    }
    const body = { name: 'reader', scopes: ['read' as const] }
    const token = (await hive.call(keys.createApiKey, { token: ada.token, body })).body.apiKey
    assert.equal((await set(hive, { token }, projectId, ['evil.example.org'])).problem.code, 'permission_denied')
    assert.equal((await get(hive, eve, projectId)).problem.code, 'project_not_found')
    assert.equal((await set(hive, eve, projectId, ['evil.example.org'])).problem.code, 'project_not_found')
    assert.deepEqual((await get(hive, ada, projectId)).body, { hosts: [] })
  })

  test('what is no plain name, or stands for names of many owners, is refused', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const bad = [
      ...['127.0.0.1', '10.0.0.1', '[::1]', '::1', '2130706433', '0x7f.1', '1.2.3', 'localhost', 'registry'],
      ...['*', '*.', '*.org', '*.co.uk', '*.com.au', 'a.*.org', '*.*.example.org', '**.example.org', '.example.org'],
      ...['example.org.', 'Example.org', 'example.org:443', 'https://example.org', 'example.org/x', 'user@example.org'],
      ...['exa mple.org', 'example.org\n', '-a.example.org', 'a-.example.org', 'a..org', 'ex\u00e4mple.org', ''],
      ...[`${'a'.repeat(64)}.org`, `${'a.'.repeat(126)}org`],
    ]
    for (const host of bad) {
      const reply = await set(hive, ada, projectId, ['registry.npmjs.org', host])
      assert.equal(reply.problem.code, 'invalid_request', host)
    }
    const tooMany = Array.from({ length: 51 }, (_, i) => `h${i}.example.org`)
    assert.equal((await set(hive, ada, projectId, tooMany)).problem.code, 'invalid_request')
    assert.equal((await set(hive, ada, projectId, ['a.org', 'a.org'])).problem.code, 'invalid_request')
    assert.deepEqual((await get(hive, ada, projectId)).body, { hosts: [] })
    const good = ['xn--bcher-kva.example', '*.pkg.co.uk', 'a.b-c.d2.org', '*.example.net']
    assert.equal((await set(hive, ada, projectId, good)).status, 200)
  })

  test('of two lists written at once one is the list, never both together', async () => {
    await using hive = await open()
    const ada = await hive.person('ada')
    const projectId = await hive.project(ada)
    const lists = [['a.example.org', 'both.example.org'], ['b.example.org', 'both.example.org'], []]
    for (let round = 0; round < 4; round++) {
      const replies = await Promise.all(lists.map((hosts) => set(hive, ada, projectId, hosts)))
      assert.ok(replies.every(({ status }) => status === 200))
      const { hosts } = (await get(hive, ada, projectId)).body
      assert.ok(
        lists.some((list) => list.join() === hosts.join()),
        hosts.join(),
      )
    }
  })
})
