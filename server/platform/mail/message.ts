import { domainToASCII } from 'node:url'
import { encode, wrap } from 'nodemailer/lib/qp'

/** A mail as its sender hands it in and as it lies in the queue. */
export interface Mail {
  /** Null for nobody: the mail costs what any other costs and goes nowhere (trap T5: who does not exist takes no less time). */
  to: string | null
  subject: string
  /** Plain text: there is nothing in it that a mail program could load, run, or show other than it reads. */
  text: string
  /** A name for log lines, such as `password_reset`. */
  kind: string
}

/** A mail as it crosses the wire or lies in a file; the same bytes each time it is made of the same mail. */
export interface Message {
  readonly id: string
  readonly createdAt: number
  /** The addresses of the envelope. */
  readonly from: string
  readonly to: string
  readonly bytes: Buffer
}

/** Hands one message over; resolves with the name of the file it was written to, if it was. Rejects with MailRefused when trying again is useless. */
export type Deliver = (message: Message, signal: AbortSignal) => Promise<string | null>

/** This mail will never be accepted: trying again is useless. The reason is a name, for the log. */
export class MailRefused extends Error {
  readonly reason: string
  constructor(reason: string) {
    super(`mail refused for good: ${reason}`)
    this.name = 'MailRefused'
    this.reason = reason
  }
}

export interface Mailbox {
  readonly name: string
  readonly address: string
}

/** Reads `Name <address>` or an address; the configuration has checked its form. */
export function parseMailbox(text: string): Mailbox {
  const [, name = '', address = text] = /^(.*)<([^<>]+)>$/.exec(text) ?? []
  return { name: name.trim().replace(/^"(.*)"$/, '$1'), address: address.trim() }
}

// An address in the sense of RFC 5322's dot-atom, in any script, and nothing that an envelope or a header could read as more than one:
// no quotes, commas, groups, brackets, spaces, control or invisible characters.
const localPart = /^[\p{L}\p{N}\p{M}!#$%&'*+/=?^_`{|}~.-]{1,64}$/u
const domainName = /^[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}.-]{0,251}[\p{L}\p{N}\p{M}])?$/u

/** The address with its domain in ASCII, or undefined when mail is never sent there. */
export function toMailAddress(text: string): string | undefined {
  const at = text.lastIndexOf('@')
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)]
  if (at < 1 || !localPart.test(local) || !domainName.test(domain)) return undefined
  const ascii = domainToASCII(domain)
  return ascii === '' || ascii.includes('..') || ascii.length > 253 ? undefined : `${local}@${ascii}`
}

/**
 * Control characters and those that only change the direction of what follows, which make a text look like another (Trojan Source,
 * CVE-2021-42574). In a subject a line break among them would begin a header.
 */
const invisible = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu
const maxSubjectLength = 200

/** A text on one line, whatever was in it. */
export function oneLine(text: string): string {
  return text.toWellFormed().replace(invisible, ' ').replace(/\s+/g, ' ').trim()
}

/**
 * The mail by RFC 5322, without a character that its texts did not have as text; throws MailRefused for a recipient that is no address.
 * Message-ID and Date are those of the mail, not of the attempt, so that who gets it twice can tell.
 */
export function composeMessage(mail: Mail & { to: string }, from: Mailbox, id: string, createdAt: number): Message {
  const to = toMailAddress(mail.to)
  if (to === undefined) throw new MailRefused('no_address')
  const text = mail.text
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(invisible, (character) => (character === '\n' || character === '\t' ? character : ' '))
  const body = `${text.trimEnd()}\n`.replaceAll('\n', '\r\n')
  // As it is where it can be, so that a link in a file can be copied; RFC 5322 §2.1.1 allows 998 characters a line.
  const asItIs = /^[\x20-\x7e\t\r\n]*$/.test(body) && !/[^\r\n]{990}/.test(body)
  const lines = [
    `From: ${from.name === '' ? '' : `${phrase(from.name)} `}<${from.address}>`,
    `To: <${to}>`,
    `Subject: ${encodeWords(oneLine(mail.subject).slice(0, maxSubjectLength).toWellFormed())}`,
    `Date: ${new Date(createdAt).toUTCString().replace('GMT', '+0000')}`,
    `Message-ID: <${id}@${from.address.slice(from.address.lastIndexOf('@') + 1)}>`,
    // RFC 3834: no vacation notice answers it.
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Transfer-Encoding: ${asItIs ? '7bit' : 'quoted-printable'}`,
    '',
    asItIs ? body : wrap(encode(body)),
  ]
  return { id, createdAt, from: from.address, to, bytes: Buffer.from(lines.join('\r\n')) }
}

function phrase(name: string): string {
  return /^[\w .-]+$/.test(name) ? name : `"${encodeWords(oneLine(name).replace(/["\\]/g, "'"))}"`
}

const wordBytes = 45 // 60 characters of base64, with `=?utf-8?B?` and `?=` 72 of the 75 that RFC 2047 §2 allows

/** RFC 2047; also for what only looks encoded, which a reader would decode. */
function encodeWords(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text) && !text.includes('=?')) return text
  const words = ['']
  for (const character of text) {
    const last = words.at(-1) ?? ''
    if (Buffer.byteLength(last + character) <= wordBytes) words[words.length - 1] = last + character
    else words.push(character)
  }
  return words.map((word) => `=?utf-8?B?${Buffer.from(word).toString('base64')}?=`).join('\r\n ')
}
