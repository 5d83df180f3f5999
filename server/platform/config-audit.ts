import { readFileSync, statSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Reader } from './config-reader.ts'
import { readAuditKey } from './crypto/audit-key.ts'

export interface AuditSettings {
  /** The private key of checkpoints, PEM, where it is kept outside the database; null where the server makes one and seals it. */
  readonly keyPem: string | null
  /** After how many days whole sealed segments are pruned; null keeps everything. */
  readonly retentionDays: number | null
  /** Where events and checkpoints are sent; null for nowhere. */
  readonly sink: AuditSink | null
}

export type AuditSink =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'syslog'; readonly host: string; readonly port: number; readonly isTls: boolean }
  | { readonly kind: 'webhook'; readonly url: string; readonly token: string | null }

/** Settings of the audit log; `config.ts` counts these names among the known ones. */
export const auditNames = ['HIVESYNC_AUDIT_KEY_FILE', 'HIVESYNC_AUDIT_RETENTION_DAYS', 'HIVESYNC_AUDIT_SINK'] as const
export const auditSecretNames = [
  'HIVESYNC_AUDIT_SINK_TOKEN',
  'HIVESYNC_DATABASE_MIGRATION_URL',
  'HIVESYNC_DATABASE_MAINTENANCE_URL',
] as const

export function readAudit(read: Reader, problems: string[]): AuditSettings {
  const keyFile = read.text('HIVESYNC_AUDIT_KEY_FILE')
  const days = read.integer('HIVESYNC_AUDIT_RETENTION_DAYS', 0, 36_500, 0)
  return Object.freeze({
    keyPem: keyFile === null ? null : readKeyFile(keyFile, problems),
    retentionDays: days === 0 ? null : days,
    sink: readSink(read, problems),
  })
}

function readKeyFile(path: string, problems: string[]): string | null {
  try {
    // Stricter than other secrets: who reads it can sign a history of their own.
    if ((statSync(path).mode & 0o077) !== 0)
      problems.push('HIVESYNC_AUDIT_KEY_FILE names a file that others can read: chmod 600 it')
    const pem = readFileSync(path, 'utf8')
    if (readAuditKey(pem) !== undefined) return pem
    problems.push(
      'HIVESYNC_AUDIT_KEY_FILE must name an Ed25519 private key in PEM: make one with `openssl genpkey -algorithm ed25519`',
    )
  } catch {
    problems.push('HIVESYNC_AUDIT_KEY_FILE names a file that cannot be read')
  }
  return null
}

const sinkForms = 'file:///FOLDER/FILE, syslog://HOST:PORT, syslogs://HOST:PORT or https://…'

function readSink(read: Reader, problems: string[]): AuditSink | null {
  const text = read.text('HIVESYNC_AUDIT_SINK')
  const token = read.secret('HIVESYNC_AUDIT_SINK_TOKEN')
  const url = text === null ? null : URL.parse(text)
  const sink = url === null ? undefined : sinkOf(url, token)
  if (text !== null && sink === undefined) problems.push(`HIVESYNC_AUDIT_SINK must be ${sinkForms}`)
  if (token !== null && sink?.kind !== 'webhook')
    problems.push('HIVESYNC_AUDIT_SINK_TOKEN is for a sink that is an https:// address')
  return sink ?? null
}

function sinkOf(url: URL, token: string | null): AuditSink | undefined {
  if (url.username + url.password + url.hash !== '') return undefined
  if (url.protocol === 'https:') return { kind: 'webhook', url: url.href, token }
  if (url.search !== '') return undefined
  if (url.protocol === 'file:') {
    // An encoded slash would be a name that no folder has.
    const path = url.host === '' && !/%2f/i.test(url.pathname) ? fileURLToPath(url) : ''
    return isAbsolute(path) && !path.endsWith('/') ? { kind: 'file', path } : undefined
  }
  const isTls = url.protocol === 'syslogs:'
  if ((url.protocol !== 'syslog:' && !isTls) || url.hostname === '' || url.port === '' || !/^\/?$/.test(url.pathname))
    return undefined
  return { kind: 'syslog', host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port), isTls }
}
