import type { PostureCheck } from '@hivesync/contracts/oversight.ts'
import { isLoopback } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { mayChangeAuditTables } from '../platform/db/runtime-role.ts'

type Verdict = Omit<PostureCheck, 'name'>
type Look = (ctx: Context) => Verdict | Promise<Verdict>

const good = (detail: string): Verdict => ({ state: 'good', detail, fix: null })
const advice = (detail: string, fix: string): Verdict => ({ state: 'advice', detail, fix })
const risk = (detail: string, fix: string): Verdict => ({ state: 'risk', detail, fix })
const dayMs = 24 * 3_600_000

async function count(query: { execute(): Promise<readonly { count: number }[]> }): Promise<number> {
  const [row] = await query.execute()
  return Number(row?.count ?? 0)
}

const liveAdmins = (ctx: Context) =>
  ctx.db.kysely
    .selectFrom('users')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('adminSince', 'is not', null)
    .where('deactivatedAt', 'is', null)
    .where('erasedAt', 'is', null)

const liveKeys = (ctx: Context) =>
  ctx.db.kysely
    .selectFrom('apiKeys')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('revokedAt', 'is', null)
    .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', ctx.clock.now())]))

/** What is looked at, in the order in which it is shown. A detail names settings and counts, never people or addresses. */
export const looks: readonly (readonly [name: string, look: Look])[] = [
  [
    'profile',
    ({ config }) =>
      config.profile === 'local'
        ? advice(
            'The local profile: HTTP on this machine alone',
            'For other machines set HIVESYNC_PROFILE=production behind TLS',
          )
        : good(`The profile ${config.profile}: HTTPS, strong secrets and encrypted connections are required`),
  ],
  [
    'registration',
    ({ config }) =>
      config.registration === 'open'
        ? advice('Anybody who reaches this server may make an account', 'HIVESYNC_REGISTRATION=invite or closed')
        : good('Accounts are made by invitation or by admins alone'),
  ],
  [
    'admins with a second factor',
    async (ctx) => {
      const withFactor = ctx.db.kysely.selectFrom('factors').select('userId').where('confirmedAt', 'is not', null)
      const without = await count(liveAdmins(ctx).where('id', 'not in', withFactor))
      if (without === 0) return good('Every admin has one')
      return risk(
        `Admins who sign in with a password alone: ${without}`,
        'They add an authenticator app or a passkey: hivesync auth mfa add',
      )
    },
  ],
  [
    'number of admins',
    async (ctx) => {
      const admins = await count(liveAdmins(ctx))
      if (admins === 1)
        return advice('There is one admin: who loses that account loses the server', 'Make a second person an admin')
      return admins > 5
        ? advice(`There are ${admins} admins`, 'Fewer people can do less by mistake')
        : good(`${admins} admins`)
    },
  ],
  [
    'API keys without an end',
    async (ctx) => {
      const endless = await count(liveKeys(ctx).where('expiresAt', 'is', null).where('userId', 'is not', null))
      return endless === 0
        ? good('Every key of a person expires')
        : advice(`Keys that never expire: ${endless}`, 'Rotate them into keys with an expiry')
    },
  ],
  [
    'API keys nobody uses',
    async (ctx) => {
      const before = ctx.clock.now() - 90 * dayMs
      const idle = await count(
        liveKeys(ctx)
          .where('createdAt', '<', before)
          .where((eb) => eb.or([eb('lastUsedAt', 'is', null), eb('lastUsedAt', '<', before)])),
      )
      return idle === 0
        ? good('Every key was used within 90 days')
        : advice(`Keys not used for 90 days: ${idle}`, 'Revoke them')
    },
  ],
  [
    'audit log',
    async (ctx) =>
      (await mayChangeAuditTables(ctx.db))
        ? advice(
            'This server could change or delete what it has recorded; it would be found out',
            'On PostgreSQL run it as a role of `hivesync admin database-role`',
          )
        : good('The database lets this server add to the audit log, and nothing else'),
  ],
  [
    'audit log elsewhere',
    ({ config }) =>
      config.audit.sink === null
        ? advice(
            'Whoever owns this machine owns the only copy of the audit log',
            'HIVESYNC_AUDIT_SINK ships it elsewhere',
          )
        : good('It is shipped elsewhere'),
  ],
  [
    'mail',
    ({ config }) =>
      config.smtpUrl === null
        ? advice('Mail is written into files: nobody is told of alerts or new logins', 'HIVESYNC_SMTP_URL')
        : good('Mail is sent'),
  ],
  [
    'rate limits',
    ({ config }) => {
      if (config.rateScale !== 1) return risk('Rate limits are multiplied, for load tests', 'Unset HIVESYNC_RATE_SCALE')
      if (config.replicas > 1 && config.redisUrl === null)
        return risk('Several replicas count by themselves', 'HIVESYNC_REDIS_URL')
      return good(config.redisUrl === null ? 'Counted in this process' : 'Counted by all replicas together')
    },
  ],
  [
    'what webhooks may reach',
    ({ config }) =>
      config.egress.rules.length === 0
        ? good('Addresses of the public internet alone')
        : advice(
            `Private destinations that are allowed: ${config.egress.rules.length}`,
            'Keep HIVESYNC_EGRESS_ALLOW short',
          ),
  ],
  [
    'trusted proxies',
    ({ config }) =>
      config.trustedProxies.some((range) => /\/0$/.test(range))
        ? risk(
            'Anybody may say which address a request came from',
            'HIVESYNC_TRUSTED_PROXIES: the addresses of your proxies alone',
          )
        : good(config.trustedProxies.length === 0 ? 'None: the address of the connection counts' : 'Listed ones alone'),
  ],
  [
    'isolation of workers',
    async (ctx) => {
      const rows = await ctx.db.kysely
        .selectFrom('workers')
        .select('isolation')
        .where('revokedAt', 'is', null)
        .execute()
      // As the workers report it; one that has never asked for work says nothing yet.
      const reduced = rows.filter(
        ({ isolation }) => isolation !== null && JSON.parse(isolation).level !== 'full',
      ).length
      return reduced === 0
        ? good('Limits of jobs hold in the kernel everywhere')
        : advice(
            `On ${reduced} workers a watchdog holds memory and processes instead of control groups, or there is no sandbox`,
            'docs/operations.md, "Control groups"',
          )
    },
  ],
  [
    'alerts',
    async (ctx) => {
      const open = await count(
        ctx.db.kysely
          .selectFrom('alerts')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .where('endedAt', 'is', null)
          .where('acknowledgedAt', 'is', null),
      )
      return open === 0
        ? good('None that nobody looks after')
        : risk(`Alerts that nobody looks after: ${open}`, 'hivesync admin alerts')
    },
  ],
  [
    'address',
    ({ config }) =>
      config.publicUrl.startsWith('https://') || isLoopback(new URL(config.publicUrl).hostname.replace(/^\[|\]$/g, ''))
        ? good('HTTPS, or this machine alone')
        : risk('The public address is HTTP', 'Serve it behind TLS and set HIVESYNC_PUBLIC_URL'),
  ],
]
