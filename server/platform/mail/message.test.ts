import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseMail } from '../../../test/harness/mails.ts'
import { mailText, quoted } from './mail-text.ts'
import { composeMessage, MailRefused, parseMailbox, toMailAddress } from './message.ts'

const from = { name: 'HiveSync', address: 'hive@example.net' }
const id = '01900000-0000-7000-8000-000000000001'
const headerNames = [
  'from',
  'to',
  'subject',
  'date',
  'message-id',
  'auto-submitted',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
]

function compose(mail: { to?: string; subject?: string; text?: string }, mailbox = from) {
  const whole = { to: 'bee@example.org', subject: 'Hello', text: 'Hello\n', kind: 'test', ...mail }
  const message = composeMessage(whole, mailbox, id, Date.UTC(2026, 0, 1, 12))
  return { message, source: message.bytes.toString(), read: parseMail(message.bytes.toString()) }
}

test('a mail says who, when and that no person wrote it, and carries nothing that tells on its reader', () => {
  const { read } = compose({})
  assert.deepEqual(read.headers, {
    from: 'HiveSync <hive@example.net>',
    to: '<bee@example.org>',
    subject: 'Hello',
    date: 'Thu, 01 Jan 2026 12:00:00 +0000',
    'message-id': `<${id}@example.net>`,
    'auto-submitted': 'auto-generated',
    'mime-version': '1.0',
    'content-type': 'text/plain; charset=utf-8',
    'content-transfer-encoding': '7bit',
  })
})

test('the same mail is the same bytes each time', () => {
  assert.deepEqual(compose({ text: 'Grüße' }).message.bytes, compose({ text: 'Grüße' }).message.bytes)
})

test('no subject, name or text adds a header, whatever is in it', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.constantFrom(
      'Hi\r\nBcc: everybody@example.org',
      'Hi\nContent-Type: text/html\n\n<script>',
      'Hi\rBcc: x@example.org',
      'Hi\u2028Bcc: x@example.org',
      'Hi\u0085Bcc: x@example.org',
      '=?utf-8?B?DQpCY2M6IHg=?=',
      '\ud800\r\n.\r\n',
    ),
  )
  fc.assert(
    fc.property(hostile, hostile, hostile, (subject, text, name) => {
      const { source, read } = compose({ subject, text }, { ...from, name })
      assert.deepEqual(Object.keys(read.headers), headerNames)
      assert.equal(read.headers.to, '<bee@example.org>')
      assert.ok(read.headers.from?.endsWith('<hive@example.net>'))
      // Lines end in CRLF and are never longer than RFC 5322 §2.1.1 allows.
      for (const line of source.split('\r\n')) assert.match(line, /^[\t\x20-\x7e]{0,998}$/)
    }),
    { numRuns: 500 },
  )
})

test('subject and text are read as they were written, in any script', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 15 }),
      fc.string({ unit: 'grapheme', maxLength: 2000 }),
      (a, b) => {
        const { read } = compose({ subject: a, text: b })
        assert.equal(read.subject, a.replace(/\s+/g, ' ').trim())
        assert.equal(read.text, `${b.trimEnd()}\n`)
      },
    ),
  )
  const long = '蜂'.repeat(150)
  assert.equal(compose({ subject: long }).read.subject, long)
  assert.equal(compose({ subject: '=?utf-8?B?SGk=?=' }).source.includes('Subject: =?utf-8?B?SGk=?='), false)
})

test('a text without a line break crosses the wire in lines that every server takes', () => {
  for (const text of ['x'.repeat(5000), 'ü'.repeat(5000), ` ${'蜂 '.repeat(3000)}`]) {
    const { source, read } = compose({ text })
    assert.equal(read.text, `${text.trimEnd()}\n`)
    assert.ok(source.split('\r\n').every((line) => line.length <= 78))
  }
})

test('characters that turn a text around are not sent', () => {
  const { read } = compose({ subject: 'pay \u202etxt.exe', text: 'a\u2066b\u0007c' })
  assert.deepEqual([read.subject, read.text], ['pay txt.exe', 'a b c\n'])
})

test('a link of plain text stands whole in the bytes, so that it can be copied from a file', () => {
  const link = `https://hive.test/reset#hso_${'x'.repeat(43)}${'y'.repeat(200)}`
  assert.ok(compose({ text: `Open this:\n\n${link}\n` }).source.includes(`\r\n\r\n${link}\r\n`))
})

test('an address that could be read as more than one, or as none, gets no mail', () => {
  for (const to of [
    '',
    'bee',
    '@example.org',
    'bee@',
    'bee@example.org,queen@example.org',
    'bee@example.org queen@example.org',
    'queen@example.org,bee@example.org',
    'bee@example.org>\r\nBcc: <queen@example.org',
    'bee@example.org\r\nRCPT TO:<queen@example.org>',
    'bee@example.org\n',
    'Bee <bee@example.org>',
    '<bee@example.org>',
    '"bee queen"@example.org',
    'group:bee@example.org;',
    'bee(comment)@example.org',
    'bee@[127.0.0.1]',
    'bee@exa mple.org',
    'bee@example..org',
    'bee@-example.org',
    'bee\u0000@example.org',
    'bee\u202e@example.org',
    'bee@example.org\u2028',
    `${'b'.repeat(65)}@example.org`,
    `bee@${'example.'.repeat(40)}org`,
    `bee@%0d%0a.org`,
  ])
    assert.throws(() => compose({ to }), MailRefused, JSON.stringify(to))
})

test('an address in any script is one, its domain in ASCII', () => {
  assert.equal(toMailAddress('bee@bücher.example'), 'bee@xn--bcher-kva.example')
  assert.equal(toMailAddress('imker+tag@Example.ORG'), 'imker+tag@example.org')
  assert.equal(toMailAddress('蜂@例え.jp'), '蜂@xn--r8jz45g.jp')
  assert.equal(toMailAddress("o'hara@localhost"), "o'hara@localhost")
})

test('the sender is read with or without a name', () => {
  assert.deepEqual(parseMailbox('"The Hive" <hive@example.net>'), { name: 'The Hive', address: 'hive@example.net' })
  assert.deepEqual(parseMailbox('hive@example.net'), { name: '', address: 'hive@example.net' })
  assert.match(compose({}, { name: 'Bienen, Köln "e. V."', address: 'hive@example.net' }).source, /^From: \S/)
})

test('paragraphs are folded at 76 characters, and a link never', () => {
  const ctx = { config: { publicUrl: 'https://hive.test' } } as Parameters<typeof mailText>[0]
  const link = `https://hive.test/reset#${'x'.repeat(100)}`
  const text = mailText(ctx, [
    'Somebody asked for a new password.\r\nBcc: nobody '.repeat(4),
    link,
    'Not you? Do nothing.',
  ])
  const lines = text.split('\n')
  assert.ok(lines.includes(link))
  assert.deepEqual(
    lines.filter((line) => line.length > 76),
    [link],
  )
  assert.ok(text.endsWith('\n\nNot you? Do nothing.\n\n-- \nHiveSync at https://hive.test\n'))
})

test("somebody else's text in ours is short, on one line, and no link", () => {
  assert.equal(quoted('The "Hive"\r\n\r\nClick'), '"The \'Hive\' Click"')
  assert.equal(quoted('https://evil.example/a'), '"https: / / evil. example/ a"')
  assert.equal(quoted('bee@evil.example'), '"bee@ evil. example"')
  assert.equal(quoted('x'.repeat(100)), `"${'x'.repeat(60)}"`)
})
