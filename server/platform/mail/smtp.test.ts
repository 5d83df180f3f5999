import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import type { SMTPServerOptions } from 'smtp-server'
import { composeMessage, MailRefused } from './message.ts'
import { openSmtp } from './smtp.ts'
import { makeCertificate, type SmtpServer, startSilentServer, startSmtpServer } from './test-smtp-server.ts'

// Connecting to it reaches this machine, but it is no loopback address: what holds for a server elsewhere holds for it.
const elsewhere = '0.0.0.0'
const secret = 'wax-and-honey'
const account = `drone:${secret}`
/** How a handshake begins (RFC 8446 §5.1). */
const tlsRecord = String.fromCharCode(22, 3)

const from = { name: 'HiveSync', address: 'hive@example.net' }
const message = composeMessage(
  { to: 'bee@example.org', subject: 'Hello', text: 'A link:\nhttps://hive.test/#token\n', kind: 'test' },
  from,
  '01900000-0000-7000-8000-000000000001',
  Date.UTC(2026, 0, 1),
)

const acceptOnly: SMTPServerOptions['onAuth'] = (auth, _session, done) =>
  auth.username === 'drone' && auth.password === secret
    ? done(null, { user: 'drone' })
    : done(Object.assign(new Error('no'), { responseCode: 535 }))

function answering(responseCode: number): (error: (fault: Error) => void) => void {
  return (error) => error(Object.assign(new Error('The server has an opinion'), { responseCode }))
}

let good: Awaited<ReturnType<typeof makeCertificate>>
let misnamed: Awaited<ReturnType<typeof makeCertificate>>
const trustedBefore = getCACertificates('default')
const servers: SmtpServer[] = []

before(async () => {
  good = await makeCertificate(`IP:${elsewhere},DNS:localhost`)
  misnamed = await makeCertificate('DNS:other.test')
  // As an operator does with NODE_EXTRA_CA_CERTS.
  setDefaultCACertificates([...trustedBefore, good.cert, misnamed.cert])
})

after(async () => {
  setDefaultCACertificates(trustedBefore)
  for (const server of servers) await server.close()
})

async function start(options?: SMTPServerOptions): Promise<SmtpServer> {
  const server = await startSmtpServer(options)
  servers.push(server)
  return server
}

function send(url: string, signal = new AbortController().signal): Promise<string | null> {
  return openSmtp(url)(message, signal)
}

async function refusal(promise: Promise<unknown>): Promise<Error & { code?: string; responseCode?: number }> {
  const error = await promise.then(
    () => assert.fail('it was sent'),
    (fault: unknown) => fault,
  )
  assert.ok(error instanceof Error)
  return error
}

describe('mail by SMTP', () => {
  test('a mail arrives byte for byte as it was composed, for the address it was meant for', async () => {
    const server = await start()
    assert.equal(await send(`smtp://127.0.0.1:${server.port}`), null)
    assert.deepEqual(server.received, [{ to: 'bee@example.org', source: message.bytes.toString() }])
  })

  test('a line that is a dot alone does not end the mail', async () => {
    const server = await start()
    const text = 'before\n.\nRCPT TO:<queen@example.org>\n..after'
    const dotted = composeMessage({ to: 'bee@example.org', subject: 's', text, kind: 'test' }, from, 'id', 0)
    await openSmtp(`smtp://127.0.0.1:${server.port}`)(dotted, new AbortController().signal)
    assert.deepEqual(server.received, [{ to: 'bee@example.org', source: dotted.bytes.toString() }])
  })

  test('a server elsewhere gets mail and password only after STARTTLS, under a certificate for its name', async () => {
    const server = await start({ ...good, onAuth: acceptOnly, authOptional: false })
    await send(`smtp://${account}@${elsewhere}:${server.port}`)
    assert.equal(server.received.length, 1)
    assert.match(server.wire(), /^EHLO [^\r\n]+\r\nSTARTTLS\r\n/)
    assert.ok(server.wire().includes(`STARTTLS\r\n${tlsRecord}`))
    assert.doesNotMatch(server.wire(), /AUTH|MAIL FROM|bee@/)
  })

  test('smtps is TLS from the first byte', async () => {
    const server = await start({ ...good, secure: true, onAuth: acceptOnly, authOptional: false })
    await send(`smtps://${account}@${elsewhere}:${server.port}`)
    assert.equal(server.received.length, 1)
    assert.ok(server.wire().startsWith(tlsRecord))
  })

  test('a server elsewhere from whose greeting somebody stripped STARTTLS gets neither password nor address', async () => {
    const server = await start({ disabledCommands: ['STARTTLS'], onAuth: acceptOnly, allowInsecureAuth: true })
    const error = await refusal(send(`smtp://${account}@${elsewhere}:${server.port}`))
    assert.ok(!(error instanceof MailRefused), 'it is tried again')
    assert.doesNotMatch(server.wire(), /AUTH|MAIL FROM|example\.org/)
    assert.deepEqual(server.received, [])
  })

  for (const [what, secure] of [
    ['smtp with STARTTLS', false],
    ['smtps', true],
  ] as const) {
    test(`a certificate nobody vouches for is refused before anything is said (${what})`, async () => {
      const unknown = await makeCertificate(`IP:${elsewhere}`)
      const server = await start({ ...unknown, secure, onAuth: acceptOnly })
      await refusal(send(`smtp${secure ? 's' : ''}://${account}@${elsewhere}:${server.port}`))
      assert.doesNotMatch(server.wire(), /AUTH|MAIL FROM/)
      assert.deepEqual(server.received, [])
    })

    test(`a trusted certificate for another name is refused (${what})`, async () => {
      const server = await start({ ...misnamed, secure, onAuth: acceptOnly })
      const error = await refusal(send(`smtp${secure ? 's' : ''}://${account}@${elsewhere}:${server.port}`))
      assert.match(error.message, /does not match|altnames/)
      assert.deepEqual(server.received, [])
    })
  }

  test('a server that offers no login where one is configured gets no mail', async () => {
    const server = await start({ disabledCommands: ['AUTH'] })
    await refusal(send(`smtp://${account}@127.0.0.1:${server.port}`))
    assert.deepEqual(server.received, [])
  })

  test('a user and a password with reserved characters are decoded', async () => {
    const seen: unknown[] = []
    const onAuth: SMTPServerOptions['onAuth'] = (auth, _session, done) => {
      seen.push([auth.username, auth.password])
      done(null, { user: 'x' })
    }
    const server = await start({ onAuth, allowInsecureAuth: true, authOptional: false })
    await send(`smtp://drone%40hive.test:a%2Fb%3A%25@127.0.0.1:${server.port}`)
    assert.deepEqual(seen, [['drone@hive.test', 'a/b:%']])
  })
})

describe('a refusal', () => {
  test('of the recipient or the content by 5xx is for good', async () => {
    const onRcptTo: SMTPServerOptions['onRcptTo'] = (_address, _session, done) => answering(550)(done)
    const onData: SMTPServerOptions['onData'] = (stream, _session, done) => {
      stream.resume()
      stream.on('end', () => answering(554)(done))
    }
    for (const [options, reason] of [
      [{ onRcptTo }, 'smtp_550'],
      [{ onData }, 'smtp_554'],
    ] as const) {
      const server = await start(options)
      const error = await refusal(send(`smtp://127.0.0.1:${server.port}`))
      assert.ok(error instanceof MailRefused, error.stack)
      assert.equal(error.reason, reason)
    }
  })

  test('by 4xx, of the sender, of the login, or before a word was said, is no refusal of the mail', async () => {
    const greylisting: SMTPServerOptions = { onRcptTo: (_address, _session, done) => answering(451)(done) }
    const badSender: SMTPServerOptions = { onMailFrom: (_address, _session, done) => answering(550)(done) }
    const relay: SMTPServerOptions = { onRcptTo: (_address, _session, done) => answering(530)(done) }
    for (const options of [greylisting, badSender, relay, { onAuth: acceptOnly, allowInsecureAuth: true }]) {
      const server = await start(options)
      const user = 'onAuth' in options ? 'drone:wrong@' : ''
      const error = await refusal(send(`smtp://${user}127.0.0.1:${server.port}`))
      assert.ok(!(error instanceof MailRefused), error.stack)
      assert.deepEqual(server.received, [])
    }
    const gone = await start()
    await gone.close()
    assert.ok(!((await refusal(send(`smtp://127.0.0.1:${gone.port}`))) instanceof MailRefused))
  })

  test('a server that says nothing is left when we are told to leave', async () => {
    for (const greeting of ['', '220 mail.test\r\n']) {
      const server = await startSilentServer(greeting)
      const leaving = new AbortController()
      const sent = send(`smtp://127.0.0.1:${server.port}`, leaving.signal)
      await server.connected
      leaving.abort()
      assert.equal((await refusal(sent)).name, 'AbortError')
      await server.close()
    }
  })
})

describe('the address of the server', () => {
  test('is refused with anything more than server, user and password, and never repeated', () => {
    for (const address of [
      `smtp://${account}@mail.test?tls.rejectUnauthorized=false`,
      `smtps://${account}@mail.test/?secure=false`,
      `smtp://${account}@mail.test/relay`,
      `smtp://${account}@mail.test#x`,
      `smtp://:${secret}@mail.test`,
      `smtp://drone@mail.test`,
      `smtp://drone:${secret}%@mail.test`,
      `http://${account}@mail.test`,
      `smtp:${account}`,
    ])
      assert.throws(
        () => openSmtp(address),
        (error: Error) => error.name === 'ConfigError' && !error.message.includes(secret),
        address,
      )
  })

  test('that only looks like this machine is elsewhere', async () => {
    const server = await start({ disabledCommands: ['STARTTLS'] })
    for (const host of ['0.0.0.0', '[::ffff:127.0.0.1]']) {
      await refusal(send(`smtp://${host}:${server.port}`))
      assert.doesNotMatch(server.wire(), /MAIL FROM/)
    }
    assert.deepEqual(server.received, [])
  })
})
