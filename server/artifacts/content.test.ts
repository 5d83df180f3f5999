import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as contract from '@hivesync/contracts/artifacts.ts'
import { leave, sha256Of } from '../../test/harness/files.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { complete, submitted, take } from '../../test/harness/jobs.ts'
import { attachment } from './content.ts'
import { readRange } from './range.ts'

const page = Buffer.from('<script>alert(1)</script>')

describeHive('the content of an artifact', (open) => {
  /** A job of Ada's that left two files. */
  async function openFiles(hive: Hive) {
    const ada = await hive.person('ada')
    const worker = await hive.worker()
    await submitted(hive, ada, await hive.project(ada))
    const claim = await take(worker)
    const ids = await leave(worker, claim, { 'out/päge "1".html': page, other: page })
    await complete(worker, claim)
    const [artifactId = '', otherId = ''] = ids.values()
    return { ada, artifactId, otherId }
  }
  async function linkTo(hive: Hive, token: string, artifactId: string, method: 'GET' | 'HEAD' = 'GET') {
    const reply = await hive.call(contract.createArtifactUrl, { token, params: { artifactId }, query: { method } })
    const { pathname, search } = new URL(reply.body.url)
    return { target: pathname + search, ...reply.body }
  }
  const fetch = (hive: Hive, url: string, headers = {}, method: 'GET' | 'HEAD' = 'GET') =>
    hive.inject({ method, url, headers })

  test('comes by a signed link without a token, as a download and never as a page', async () => {
    await using hive = await open()
    const { ada, artifactId } = await openFiles(hive)
    const { target, url, expiresAt } = await linkTo(hive, ada.token, artifactId)
    assert.ok(url.startsWith(`${hive.ctx.config.publicUrl}/`))
    assert.equal(Date.parse(expiresAt) - hive.clock.now(), 300_000)
    const { statusCode, headers, rawPayload } = await fetch(hive, target)
    assert.equal(statusCode, 200)
    assert.ok(page.equals(rawPayload))
    assert.equal(headers['content-type'], 'application/octet-stream')
    assert.equal(headers['content-length'], String(page.length))
    assert.equal(
      headers['content-disposition'],
      `attachment; filename="p_ge__1_.html"; filename*=UTF-8''p%C3%A4ge%20%221%22.html`,
    )
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['cache-control'], 'no-store')
    assert.match(String(headers['content-security-policy']), /default-src 'none'.*; sandbox$/)
    assert.equal(headers['repr-digest'], `sha-256=:${Buffer.from(sha256Of(page), 'hex').toString('base64')}:`)
    const head = await linkTo(hive, ada.token, artifactId, 'HEAD')
    const empty = await fetch(hive, head.target, {}, 'HEAD')
    assert.deepEqual([empty.statusCode, empty.headers['content-length'], empty.body], [200, String(page.length), ''])
  })

  test('does not come by a link that is forged, over, or of another artifact or method, and the refusals are alike', async () => {
    await using hive = await open()
    const { ada, artifactId, otherId } = await openFiles(hive)
    const { target } = await linkTo(hive, ada.token, artifactId)
    const head = await linkTo(hive, ada.token, artifactId, 'HEAD')
    const signature = /signature=(.*)$/.exec(target)?.[1] ?? ''
    const expires = Number(/expires=(\d+)/.exec(target)?.[1])
    const links: [string, 'GET' | 'HEAD'][] = [
      [target.replace(artifactId, otherId), 'GET'],
      [target.replace(artifactId, hive.ctx.random.id()), 'GET'],
      [target.replace(String(expires), String(expires + 1)), 'GET'],
      [
        target.replace(
          signature,
          signature.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
        ),
        'GET',
      ],
      [target.replace(signature, signature.replace(/\.[^.]{8}\./, '.AAAAAAAA.')), 'GET'],
      [target.replace(signature, hive.ctx.keyring.mac('preview', 'x')), 'GET'],
      [target.replace(signature, 'v1'), 'GET'],
      [head.target, 'GET'],
      [head.target.replace('method=HEAD', 'method=GET'), 'GET'],
      [target, 'HEAD'],
      [target.replace('method=GET', 'method=HEAD'), 'HEAD'],
    ]
    const refusals = new Set<string>()
    const refuse = async (link: string, method: 'GET' | 'HEAD'): Promise<void> => {
      const reply = await fetch(hive, link, {}, method)
      assert.equal(reply.statusCode, 403, link)
      if (method === 'GET') refusals.add(JSON.stringify({ ...reply.json(), requestId: '' }))
    }
    for (const [link, method] of links) await refuse(link, method)
    hive.clock.advance(300_000)
    await refuse(target, 'GET')
    assert.equal(refusals.size, 1)
    for (const link of [target.replace(/&signature=.*/, ''), `${target}&signature=x`, `${target}&more=1`])
      assert.equal((await fetch(hive, link)).statusCode, 400)
  })

  test('is gone for a link that was good when the artifact is gone', async () => {
    await using hive = await open()
    const { ada, artifactId } = await openFiles(hive)
    const { target } = await linkTo(hive, ada.token, artifactId)
    await hive.ctx.db.kysely.deleteFrom('artifacts').where('id', '=', artifactId).execute()
    assert.equal((await fetch(hive, target)).statusCode, 403)
  })

  test('comes in one range where one is asked for', async () => {
    await using hive = await open()
    const { ada, artifactId } = await openFiles(hive)
    const { target } = await linkTo(hive, ada.token, artifactId)
    const part = await fetch(hive, target, { range: 'bytes=1-6' })
    assert.deepEqual(
      [part.statusCode, part.body, part.headers['content-range']],
      [206, 'script', `bytes 1-6/${page.length}`],
    )
    assert.equal((await fetch(hive, target, { range: 'bytes=-9' })).body, '</script>')
    assert.equal((await fetch(hive, target, { range: 'bytes=1-6', 'if-range': '"other"' })).statusCode, 200)
    assert.equal((await fetch(hive, target, { range: 'bytes=0-1,3-4' })).statusCode, 200)
    const beyond = await fetch(hive, target, { range: `bytes=${page.length}-` })
    assert.deepEqual([beyond.statusCode, beyond.headers['content-range']], [416, `bytes */${page.length}`])
  })

  test('that the store has lost is refused, and nothing of it is sent', async () => {
    await using hive = await open()
    const { ada, artifactId } = await openFiles(hive)
    const { target } = await linkTo(hive, ada.token, artifactId)
    for await (const { key } of hive.ctx.store.list()) await hive.ctx.store.remove(key)
    assert.equal((await fetch(hive, target)).json().code, 'storage_unavailable')
  })

  test('leaves its link in no log, and the making of one in the audit', async () => {
    await using hive = await open()
    const { ada, artifactId } = await openFiles(hive)
    const { target } = await linkTo(hive, ada.token, artifactId)
    await fetch(hive, target)
    const signature = /signature=v1\.[^.]+\.(.*)$/.exec(target)?.[1] ?? ''
    const audit = await hive.ctx.db.kysely.selectFrom('auditEvents').selectAll().execute()
    assert.ok(signature.length > 40 && !(hive.logged.join('') + JSON.stringify(audit)).includes(signature))
    const made = audit.filter(({ action }) => action === 'artifact.url_created')
    assert.deepEqual(
      made.map(({ targetId, actorId }) => [targetId, actorId]),
      [[artifactId, ada.userId]],
    )
  })
})

test('a range is what RFC 9110 says, and everything else is the whole', () => {
  const cases: [string | undefined, ReturnType<typeof readRange>][] = [
    [undefined, undefined],
    ['bytes=0-0', { start: 0, end: 0 }],
    ['bytes=2-', { start: 2, end: 9 }],
    ['bytes=2-99', { start: 2, end: 9 }],
    ['bytes=-3', { start: 7, end: 9 }],
    ['bytes=-99', { start: 0, end: 9 }],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=10-', 'unsatisfiable'],
    ['bytes=3-2', undefined],
    ['bytes=-', undefined],
    ['bytes=0-1,2-3', undefined],
    ['lines=0-1', undefined],
    ['bytes=0x1-2', undefined],
  ]
  for (const [header, range] of cases) assert.deepEqual(readRange(header, 10), range, header)
  assert.equal(readRange('bytes=-1', 0), 'unsatisfiable')
})

test('a file’s name cannot leave its header', () => {
  assert.equal(
    attachment('a/b"\r\nset-cookie: x'),
    `attachment; filename="b___set-cookie__x"; filename*=UTF-8''b%22%0D%0Aset-cookie%3A%20x`,
  )
  assert.equal(
    attachment("it's (1)*.txt"),
    `attachment; filename="it_s__1__.txt"; filename*=UTF-8''it%27s%20%281%29%2A.txt`,
  )
  assert.match(attachment('\ud800'), /^[\x20-\x7e]+$/)
})
