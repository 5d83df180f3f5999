import type { Keyring } from '../platform/crypto/keyring.ts'
import { AppError } from '../platform/errors.ts'
import type { Place } from './match.ts'

/** Where a page ended. The token names the index: a place in one means nothing in the next. */
export interface Position extends Place {
  projectId: string
  token: number
}

const payloadBytes = 36

/** An opaque cursor for the page after `position` of this very search; `search` is everything that was asked but the page's size. */
export function sealCursor(keyring: Keyring, search: readonly unknown[], position: Position): string {
  const payload = Buffer.alloc(payloadBytes)
  payload.write(position.projectId.replaceAll('-', ''), 0, 'hex')
  payload.writeBigUInt64BE(BigInt(position.token), 16)
  payload.writeBigUInt64BE(BigInt(position.fileId), 24)
  payload.writeUInt32BE(position.line, 32)
  const encoded = payload.toString('base64url')
  return `${encoded}.${keyring.mac('cursor', macInput(search, encoded))}`
}

/** Opens what `sealCursor` made for the same search; refuses anything else, so that no one makes up a place to read from. */
export function openCursor(keyring: Keyring, search: readonly unknown[], cursor: string): Position {
  const [, encoded, mac] = /^([A-Za-z0-9_-]{48})\.(.+)$/.exec(cursor) ?? []
  if (encoded === undefined || mac === undefined || !keyring.verifyMac('cursor', macInput(search, encoded), mac))
    throw refusedCursor('is not a cursor of this search')
  const payload = Buffer.from(encoded, 'base64url')
  const id = payload.toString('hex', 0, 16)
  return {
    projectId: id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
    token: Number(payload.readBigUInt64BE(16)),
    fileId: Number(payload.readBigUInt64BE(24)),
    line: payload.readUInt32BE(32),
  }
}

/** The refusal of a cursor that cannot be used (any more). */
export function refusedCursor(message: string): AppError {
  return new AppError('invalid_request', {}, { fields: [{ path: 'query/cursor', message }] })
}

function macInput(search: readonly unknown[], encoded: string): string {
  return `searchCode\n${JSON.stringify(search)}\n${encoded}`
}
