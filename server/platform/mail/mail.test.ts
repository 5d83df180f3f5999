import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import type { SMTPServerOptions } from 'smtp-server'
import { describeHive, type Hive } from '../../../test/harness/hive.ts'
import { parseMail } from '../../../test/harness/mails.ts'
import { startBackground } from '../../background.ts'
import type { Context } from '../context.ts'
import { openKeyring } from '../crypto/keyring.ts'
import { generateSecret } from '../crypto/secret-strength.ts'
import { openDatabase } from '../db/db.ts'
import { deliverMail, sendMail } from './mail.ts'
import { type SmtpServer, startSilentServer, startSmtpServer } from './test-smtp-server.ts'
import { createMailTransport } from './transport.ts'

const link = 'https://hive.test/reset#hso_Zm9sbG93LXRoZS1iZWUtdG8tdGhlLWhpdmUtYW5kLWJhY2s'
const mail = { to: 'bee@example.org', subject: 'Reset', text: `Open this:\n\n${link}\n`, kind: 'test' }
const minute = 60_000
const day = 24 * 60 * minute

function queue(ctx: Context, more: Partial<Parameters<typeof sendMail>[2]> = {}): Promise<void> {
  return ctx.db.transaction((tx) => sendMail(ctx, tx, { ...mail, ...more }))
}

async function waiting(ctx: Context): Promise<number> {
  return (await ctx.db.kysely.selectFrom('mailQueue').select('id').execute()).length
}

/** The events of a kind, after looking that no line has anything of a mail in it. */
function events(hive: Hive, event: string): Record<string, unknown>[] {
  for (const line of hive.logged) assert.doesNotMatch(line, /example\.org|hso_|Reset/)
  return hive.logged.map((line) => JSON.parse(line)).filter((line) => line.event === event)
}

const idOf = ({ source }: { source: string }) => parseMail(source).headers['message-id']
const refuse = (responseCode: number) => Object.assign(new Error('<bee@example.org> no'), { responseCode })

describeHive('the mail queue', (open, { dialect }) => {
  const closings: (() => Promise<unknown>)[] = []
  // Each test's own at once: a dozen replicas' connections are more than PostgreSQL lends.
  afterEach(async () => {
    for (const close of closings.splice(0)) await close()
  })

  /** A control plane that sends by SMTP to a server of its own. */
  async function openWith(options: SMTPServerOptions = {}): Promise<{ hive: Hive; server: SmtpServer }> {
    const server = await startSmtpServer(options)
    closings.push(server.close)
    return { hive: await openAt(server.port), server }
  }

  async function openAt(port: number): Promise<Hive> {
    const hive = await open({ config: { smtpUrl: `smtp://127.0.0.1:${port}`, mailFrom: 'HiveSync <hive@hive.test>' } })
    closings.push(async () => hive[Symbol.asyncDispose]())
    return hive
  }

  /** The same queue seen by another deliverer; on PostgreSQL through connections of its own, as another replica has. */
  async function another(hive: Hive): Promise<Context> {
    const { ctx } = hive
    const own = dialect === 'postgres' ? await openDatabase(ctx.config.databaseUrl) : undefined
    if (own !== undefined) closings.unshift(() => own.close())
    return { ...ctx, db: own ?? ctx.db, mail: createMailTransport(ctx.config) }
  }

  test('sends what was committed, once, and nothing that was not', async () => {
    const { hive, server } = await openWith()
    await queue(hive.ctx)
    const undone = hive.ctx.db.transaction(async (tx) => {
      await sendMail(hive.ctx, tx, { ...mail, to: 'nobody@example.org' })
      throw new Error('undone')
    })
    await assert.rejects(undone, /undone/)
    assert.equal(server.connections(), 0, 'queueing talks to no server')
    assert.deepEqual([await deliverMail(hive.ctx), await deliverMail(hive.ctx)], [1, 0])
    const [received] = server.received
    assert.equal(server.received.length, 1)
    const { to, subject, text } = parseMail(received?.source ?? '')
    assert.deepEqual({ to, subject, text }, { to: mail.to, subject: mail.subject, text: mail.text })
    assert.equal(await waiting(hive.ctx), 0)
    assert.deepEqual(
      events(hive, 'mail_sent').map(({ kind }) => kind),
      ['test'],
    )
  })

  test('is emptied by the server on its own', async () => {
    const arrived = Promise.withResolvers<string>()
    const { hive } = await openWith({
      onRcptTo({ address }, _session, done) {
        arrived.resolve(address)
        done()
      },
    })
    const stop = startBackground(hive.ctx)
    await queue(hive.ctx)
    assert.equal(await arrived.promise, mail.to)
    await stop()
    assert.equal(await waiting(hive.ctx), 0)
  })

  test('fifty mails and two deliverers at once: each mail is sent once', async () => {
    const { hive, server } = await openWith()
    const other = await another(hive)
    await Promise.all(Array.from({ length: 50 }, (_, index) => queue(hive.ctx, { to: `bee${index}@example.org` })))
    const counts = await Promise.all([deliverMail(hive.ctx), deliverMail(other), deliverMail(hive.ctx)])
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      50,
    )
    assert.equal(server.received.length, 50)
    assert.equal(new Set(server.received.map(({ to }) => to)).size, 50)
    assert.equal(new Set(server.received.map(idOf)).size, 50)
  })

  test('a deliverer that fell silent after sending has the mail sent again, recognizable by its Message-ID', async () => {
    const held = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    const sources: string[] = []
    const { hive, server } = await openWith({
      onData(stream, _session, done) {
        const chunks: Buffer[] = []
        stream.on('data', (chunk: Buffer) => chunks.push(chunk))
        stream.on('end', async () => {
          sources.push(Buffer.concat(chunks).toString())
          arrived.resolve()
          // The first one never hears that the mail was taken.
          if (sources.length === 1) await held.promise
          done()
        })
      },
    })
    const other = await another(hive)
    await queue(hive.ctx)
    const silent = deliverMail(hive.ctx)
    await arrived.promise
    assert.equal(await deliverMail(other), 0, 'while the first holds it nobody else sends it')
    hive.clock.advance(5 * minute)
    assert.equal(await deliverMail(other), 1)
    assert.equal(sources.length, 2)
    assert.equal(sources[0], sources[1])
    held.resolve()
    await silent
    assert.deepEqual([await waiting(hive.ctx), server.connections()], [0, 2])
  })

  test('who lost the lease of a mail does not give it away again', async () => {
    const answers = [Promise.withResolvers<Error | undefined>(), Promise.withResolvers<Error | undefined>()]
    const arrivals = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let taken = 0
    const { hive } = await openWith({
      async onRcptTo(_address, _session, done) {
        const turn = taken++
        arrivals[turn]?.resolve()
        done(await answers[turn]?.promise)
      },
    })
    await queue(hive.ctx)
    const first = deliverMail(hive.ctx)
    await arrivals[0]?.promise
    hive.clock.advance(5 * minute)
    const second = deliverMail(await another(hive))
    await arrivals[1]?.promise
    answers[0]?.resolve(refuse(451))
    assert.equal(await first, 0)
    hive.clock.advance(4 * minute)
    assert.equal(await deliverMail(hive.ctx), 0, 'the second one still has it')
    assert.equal(taken, 2)
    answers[1]?.resolve(undefined)
    assert.deepEqual([await second, await waiting(hive.ctx)], [1, 0])
  })

  test('what a server puts off is tried again later, and later still, and arrives', async () => {
    let refusals = 3
    const { hive, server } = await openWith({
      onRcptTo: (_address, _session, done) => (refusals-- > 0 ? done(refuse(451)) : done()),
    })
    await queue(hive.ctx)
    const waits: number[] = []
    for (let at = 0; server.received.length === 0; at += 1000, hive.clock.advance(1000)) {
      const before = server.connections()
      await deliverMail(hive.ctx)
      if (server.connections() > before) waits.push(at)
    }
    const [first = 0, second = 0, third = 0, fourth = 0] = waits
    assert.equal(waits.length, 4)
    assert.equal(first, 0)
    // 30 s, 60 s, 120 s, of which up to half is taken off.
    assert.ok(second >= 15_000 && second <= 30_000, `${second}`)
    assert.ok(third - second >= 30_000 && third - second <= 61_000, `${third - second}`)
    assert.ok(fourth - third >= 60_000 && fourth - third <= 121_000, `${fourth - third}`)
    assert.equal(events(hive, 'mail_delayed').length, 3)
  })

  test('while no server answers the mail waits; after a day it is given up, and the log says so without the address', async () => {
    const gone = await startSmtpServer()
    await gone.close()
    const hive = await openAt(gone.port)
    await queue(hive.ctx)
    for (let hours = 0; hours < 23; hours++) {
      await deliverMail(hive.ctx)
      hive.clock.advance(60 * minute)
    }
    assert.equal(await waiting(hive.ctx), 1)
    hive.clock.advance(day)
    await deliverMail(hive.ctx)
    assert.equal(await waiting(hive.ctx), 0)
    const [given] = events(hive, 'mail_dropped')
    assert.deepEqual([given?.kind, given?.reason, given?.count], ['test', 'given_up', 24])
  })

  test('a mail refused for good is not tried again, and those behind it are sent', async () => {
    const { hive, server } = await openWith({
      onRcptTo: ({ address }, _session, done) => (address === 'bee@example.org' ? done(refuse(550)) : done()),
    })
    await queue(hive.ctx)
    await queue(hive.ctx, { to: 'bee@example.org\r\nBcc: all@example.org' })
    await queue(hive.ctx, { to: 'queen@example.org' })
    assert.equal(await deliverMail(hive.ctx), 1)
    assert.deepEqual(
      server.received.map(({ to }) => to),
      ['queen@example.org'],
    )
    assert.equal(await waiting(hive.ctx), 0)
    const reasons = events(hive, 'mail_dropped').map(({ reason }) => reason)
    assert.deepEqual(reasons.sort(), ['no_address', 'smtp_550'])
  })

  test('a server that says nothing is left when we stop, and the mail stays', async () => {
    const silent = await startSilentServer()
    closings.push(silent.close)
    const hive = await openAt(silent.port)
    await queue(hive.ctx)
    const delivering = deliverMail(hive.ctx)
    await silent.connected
    await hive.ctx.mail.close()
    assert.equal(await delivering, 0)
    assert.equal(events(hive, 'mail_delayed')[0]?.errorName, 'AbortError')
    hive.clock.advance(minute)
    assert.equal(await deliverMail(hive.ctx), 0)
    const rows = await hive.ctx.db.kysely.selectFrom('mailQueue').select('attempts').execute()
    assert.deepEqual(rows, [{ attempts: 1 }], 'what is closed begins nothing new')
  })

  test('at rest neither recipient, subject nor link can be read', async () => {
    const { hive } = await openWith()
    await queue(hive.ctx)
    const rows = await hive.ctx.db.kysely.selectFrom('mailQueue').selectAll().execute()
    const bytes = [JSON.stringify(rows), ...rows.map(({ sealed }) => Buffer.from(sealed.split('.')[2] ?? '', 'base64'))]
    for (const text of bytes) assert.doesNotMatch(text.toString('latin1'), /bee|example|Reset|hso_|hive\.test/)
    if (dialect === 'postgres') return
    const path = hive.ctx.config.databaseUrl.replace('sqlite:', '')
    for (const file of [path, `${path}-wal`])
      assert.doesNotMatch(await readFile(file, 'latin1'), /bee@example|hso_Zm9s/, file)
  })

  test('what cannot be opened is dropped and named in the log, and stops nothing', async () => {
    const { hive, server } = await openWith()
    await queue({ ...hive.ctx, keyring: openKeyring([generateSecret()]) })
    await queue(hive.ctx, { to: 'victim@example.org' })
    const [, row] = await hive.ctx.db.kysely.selectFrom('mailQueue').selectAll().orderBy('id').execute()
    assert.ok(row)
    // Another row of what was sealed for one: what somebody with the database alone could do to have a mail sent twice.
    await hive.ctx.db.kysely
      .insertInto('mailQueue')
      .values({ ...row, id: hive.ctx.random.id() })
      .execute()
    assert.equal(await deliverMail(hive.ctx), 1)
    assert.deepEqual([server.received.length, await waiting(hive.ctx)], [1, 0])
    const reasons = events(hive, 'mail_dropped').map(({ reason }) => reason)
    assert.deepEqual(reasons.sort(), ['tampered', 'unknown_key'])
  })

  test('a mail to nobody costs a row as any other, and goes nowhere', async () => {
    const { hive, server } = await openWith()
    await queue(hive.ctx, { to: null })
    assert.equal(await waiting(hive.ctx), 1)
    assert.equal(await deliverMail(hive.ctx), 0)
    assert.deepEqual([await waiting(hive.ctx), server.connections(), hive.logged.length], [0, 0, 0])
  })

  test('a mail whose link has died is not sent', async () => {
    const { hive, server } = await openWith()
    await queue(hive.ctx, { expiresAt: hive.clock.now() + minute })
    await queue(hive.ctx, { expiresAt: hive.clock.now() + minute + 1, to: 'queen@example.org' })
    hive.clock.advance(minute)
    await deliverMail(hive.ctx)
    assert.deepEqual(
      server.received.map(({ to }) => to),
      ['queen@example.org'],
    )
    assert.deepEqual([events(hive, 'mail_dropped')[0]?.reason, await waiting(hive.ctx)], ['expired', 0])
  })

  test('a text without end is refused when it is queued', async () => {
    const { hive } = await openWith()
    await assert.rejects(queue(hive.ctx, { text: 'x'.repeat(20_001) }), RangeError)
  })
})

describeHive('the file outbox', (open) => {
  test('keeps each mail in a file of its own that only its owner can read, and the log says which', async () => {
    await using hive = await open()
    const folder = join(hive.ctx.config.dataDir, 'mail')
    await queue(hive.ctx)
    await queue(hive.ctx, { to: 'queen@example.org', subject: 'Grüße', text: 'Schöne Grüße\n' })
    assert.deepEqual(
      (await hive.mails()).map(({ to, subject, text }) => ({ to, subject, text })),
      [
        { to: mail.to, subject: mail.subject, text: mail.text },
        { to: 'queen@example.org', subject: 'Grüße', text: 'Schöne Grüße\n' },
      ],
    )
    assert.equal((await hive.mailTo('queen@example.org')).subject, 'Grüße')
    const names = (await readdir(folder)).sort()
    assert.equal(names.length, 2, 'no draft is left')
    assert.equal((await stat(folder)).mode & 0o777, 0o700)
    for (const name of names) {
      assert.match(name, /^\d{8}T\d{6}Z-[0-9a-f-]{36}\.eml$/)
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600)
    }
    const told = events(hive, 'mail_written').map(({ name }) => name)
    assert.deepEqual(
      told.sort(),
      names.map((name) => `mail/${name}`),
    )
  })

  test('a mail delivered twice is one file, and half a draft of a crash is overwritten', async () => {
    await using hive = await open()
    const folder = join(hive.ctx.config.dataDir, 'mail')
    await queue(hive.ctx)
    const [row] = await hive.ctx.db.kysely.selectFrom('mailQueue').selectAll().execute()
    assert.ok(row)
    const [before] = await hive.mails()
    await hive.ctx.db.kysely.insertInto('mailQueue').values(row).execute()
    await writeFile(join(folder, `.${row.id}.new`), 'half of something else that was longer than the mail'.repeat(100))
    assert.deepEqual(await hive.mails(), [before])
    assert.equal((await readdir(folder)).length, 1)
  })

  test('a folder that cannot be written to loses no mail', async () => {
    await using hive = await open()
    await writeFile(join(hive.ctx.config.dataDir, 'mail'), 'in the way')
    await queue(hive.ctx)
    assert.equal(await deliverMail(hive.ctx), 0)
    assert.equal(await waiting(hive.ctx), 1)
    assert.equal(events(hive, 'mail_delayed').length, 1)
  })
})
