// What the mail queue has delivered into the file outbox, read as a mail program would.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Context } from '../../server/platform/context.ts'
import { deliverMail } from '../../server/platform/mail/mail.ts'

export interface ReceivedMail {
  to: string
  subject: string
  text: string
  /** By name in lower case. */
  headers: Record<string, string>
}

/** Delivers what is due and reads every mail so far, oldest first. */
export async function readMails(ctx: Context): Promise<ReceivedMail[]> {
  await deliverMail(ctx)
  const folder = join(ctx.config.dataDir, 'mail')
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return []
  })
  const files = names.filter((name) => name.endsWith('.eml')).sort()
  return Promise.all(files.map(async (name) => parseMail(await readFile(join(folder, name), 'utf8'))))
}

/** Delivers what is due; the newest mail to the address. */
export async function mailTo(ctx: Context, address: string): Promise<ReceivedMail> {
  const mail = (await readMails(ctx)).findLast(({ to }) => to === address)
  assert.ok(mail, `no mail to ${address}`)
  return mail
}

/** Reads what RFC 5322 and MIME made of a mail; nothing but one part of plain text. */
export function parseMail(source: string): ReceivedMail {
  const end = source.indexOf('\r\n\r\n')
  assert.ok(end > 0, 'a mail has a header and a body')
  const lines = source
    .slice(0, end)
    .replace(/\r\n[ \t]+/g, ' ')
    .split('\r\n')
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const [, name = '', value = ''] = /^([!-9;-~]+): (.*)$/.exec(line) ?? []
    assert.ok(name !== '' && !(name.toLowerCase() in headers), `a broken or second header: ${line}`)
    headers[name.toLowerCase()] = decodeWords(value)
  }
  return {
    to: (headers.to ?? '').replace(/^<(.*)>$/, '$1'),
    subject: headers.subject ?? '',
    text: decodeBody(source.slice(end + 4), headers['content-transfer-encoding'] ?? '7bit').replaceAll('\r\n', '\n'),
    headers,
  }
}

function decodeBody(body: string, encoding: string): string {
  if (encoding === '7bit') return body
  assert.equal(encoding, 'quoted-printable')
  const joined = body.replace(/=\r\n/g, '')
  return decodeURIComponent(joined.replace(/%/g, '%25').replace(/=([0-9A-F]{2})/g, '%$1'))
}

function decodeWords(value: string): string {
  return value
    .replace(/\?= +=\?/g, '?==?')
    .replace(/=\?utf-8\?B\?([^?]*)\?=/g, (_, word: string) => Buffer.from(word, 'base64').toString())
}
