import { statfs } from 'node:fs/promises'
import { sql } from 'kysely'
import type { Context } from '../platform/context.ts'
import { answers } from './answers.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs

/** What holds at this moment and wants a person. */
export interface Finding {
  /** The id of what it is about; empty for the whole server. */
  subject: string
  severity: 'warning' | 'critical'
  detail: string
}

/** A condition that admins are told of (requirement M3), and how to look for it. Each look is a few indexed reads. */
export interface Condition {
  readonly kind: string
  find(ctx: Context): Promise<Finding[]>
}

async function countActs(ctx: Context, actions: readonly string[], withinMs: number): Promise<number> {
  const { count } = await ctx.db.kysely
    .selectFrom('auditEvents')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('action', 'in', actions)
    .where('at', '>', ctx.clock.now() - withinMs)
    .executeTakeFirstOrThrow()
  return count
}

/** Relies on audit_events_watched, which lists these acts. One finding for the whole server when more than so many such acts were remembered. */
function acts(
  kind: string,
  actions: readonly string[],
  {
    beyond,
    withinMs,
    severity,
    say,
  }: { beyond: number; withinMs: number; severity: Finding['severity']; say: (count: number) => string },
): Condition {
  return {
    kind,
    async find(ctx) {
      const count = await countActs(ctx, actions, withinMs)
      return count > beyond ? [{ subject: '', severity, detail: say(count) }] : []
    },
  }
}

const manyRefusedLogins = 50
const manyFaults = 20
const awayMs = 5 * minuteMs
const littleDisk = 0.05
const failingShare = 0.5
const failingLeast = 20

/** The one list of what raises an alert. */
export const conditions: readonly Condition[] = [
  answers,
  acts('logins_refused', ['session.refused', 'session.mfa_refused'], {
    ...{ beyond: manyRefusedLogins, withinMs: 10 * minuteMs, severity: 'warning' },
    say: (count) => `${count} logins were refused within ten minutes: somebody may be guessing passwords`,
  }),
  acts('token_reused', ['session.refresh_reused'], {
    ...{ beyond: 0, withinMs: hourMs, severity: 'critical' },
    say: (count) =>
      `${count} refresh tokens were used twice within an hour: they may have been stolen. Their sessions have ended`,
  }),
  acts('counters_drifted', ['counters.repaired'], {
    ...{ beyond: 0, withinMs: hourMs, severity: 'critical' },
    say: () => 'Counters of queues were wrong and have been repaired: report it, with the log around counter_drift',
  }),
  {
    kind: 'worker_away',
    async find(ctx) {
      const now = ctx.clock.now()
      const rows = await ctx.db.kysely
        .selectFrom('workers')
        .select(['id', 'name'])
        .where('revokedAt', 'is', null)
        .where('drainingAt', 'is', null)
        .where('ephemeral', '=', 0)
        .where('lastSeenAt', '<', now - awayMs)
        .where((eb) => eb.or([eb('expiresAt', 'is', null), eb('expiresAt', '>', now)]))
        // Of more than a hundred always the same, else each look would end alerts and raise others.
        .orderBy('id')
        .limit(100)
        .execute()
      return rows.map(({ id, name }) => ({
        subject: id,
        severity: 'warning' as const,
        detail: `The worker ${name} has not been heard of for five minutes`,
      }))
    },
  },
  {
    kind: 'storage_nearly_full',
    async find(ctx) {
      const rows = await ctx.db.kysely
        .selectFrom('teamStorage')
        .innerJoin('teams', 'teams.id', 'teamStorage.teamId')
        .innerJoin('tiers', 'tiers.name', 'teams.tier')
        .select(['teams.id', 'teams.name'])
        .where(sql<boolean>`team_storage.bytes * 10 > tiers.stored_bytes * 9`)
        .orderBy('teams.id')
        .limit(100)
        .execute()
      return rows.map(({ id, name }) => ({
        subject: id,
        severity: 'warning' as const,
        detail: `The team ${name} has used more than 90 % of its storage`,
      }))
    },
  },
  {
    kind: 'jobs_failing',
    async find(ctx) {
      // By their numbers, which grow: there is no index by time, and the latest are enough.
      const recent = ctx.db.kysely
        .selectFrom('jobAttempts')
        .select(['outcome', 'endedAt'])
        .orderBy('token', 'desc')
        .limit(1000)
      const { failed, ended } = await ctx.db.kysely
        .selectFrom(recent.as('recent'))
        .select((eb) => [
          eb.fn.countAll<number>().as('ended'),
          sql<number>`coalesce(sum(case when outcome in ('failed', 'lost') then 1 else 0 end), 0)`.as('failed'),
        ])
        .where('endedAt', '>', ctx.clock.now() - 15 * minuteMs)
        .executeTakeFirstOrThrow()
      if (ended < failingLeast || failed / ended <= failingShare) return []
      return [
        {
          subject: '',
          severity: 'warning',
          detail: `${failed} of ${ended} attempts failed or were lost within a quarter of an hour`,
        },
      ]
    },
  },
  {
    kind: 'webhook_disabled',
    async find(ctx) {
      const rows = await ctx.db.kysely
        .selectFrom('webhooks')
        .select('id')
        .where('disabledReason', '=', 'failing')
        .orderBy('id')
        .limit(100)
        .execute()
      return rows.map(({ id }) => ({
        subject: id,
        severity: 'warning' as const,
        detail: 'A webhook was switched off because every delivery failed',
      }))
    },
  },
  {
    kind: 'faults',
    async find(ctx) {
      const { count } = await ctx.db.kysely
        .selectFrom('faults')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('firstAt', '>', ctx.clock.now() - hourMs)
        .executeTakeFirstOrThrow()
      const detail = `${count} kinds of faults came up for the first time within an hour: see hivesync admin errors`
      return count >= manyFaults ? [{ subject: '', severity: 'critical', detail }] : []
    },
  },
  {
    kind: 'disk_nearly_full',
    async find(ctx) {
      const { bavail, blocks } = await statfs(ctx.config.dataDir)
      const detail = 'Less than 5 % of the disk with the data folder is free'
      return bavail < blocks * littleDisk ? [{ subject: '', severity: 'critical', detail }] : []
    },
  },
]
