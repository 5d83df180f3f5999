import type { ListedTier, Tier, TierLimits } from '@hivesync/contracts/tiers.ts'
import { sql } from 'kysely'
import type { RequestPlan } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Db } from '../platform/db/db.ts'
import { forShare } from '../platform/db/dialect.ts'
import type { Tiers } from '../platform/db/schema.ts'

/** What the team's plan allows, as it is at this moment. */
export function getPlan(db: Db, teamId: string): Promise<TierLimits> {
  return db
    .selectFrom('teams')
    .innerJoin('tiers', 'tiers.name', 'teams.tier')
    .selectAll('tiers')
    .where('teams.id', '=', teamId)
    .executeTakeFirstOrThrow()
}

/** The same, and it stays so until the transaction ends: for what keeps a figure of it, which whoever changes the plan must then find. */
export async function holdPlan(tx: Db, teamId: string): Promise<TierLimits> {
  // One after the other: rows of a join that had to wait for a lock are not joined anew.
  const { tier } = await forShare(
    tx,
    tx.selectFrom('teams').select('tier').where('id', '=', teamId),
  ).executeTakeFirstOrThrow()
  return forShare(tx, tx.selectFrom('tiers').selectAll().where('name', '=', tier)).executeTakeFirstOrThrow()
}

/** The same, of the team that a project belongs to. */
export function getProjectPlan(db: Db, projectId: string): Promise<TierLimits> {
  return db
    .selectFrom('projects')
    .innerJoin('teams', 'teams.id', 'projects.teamId')
    .innerJoin('tiers', 'tiers.name', 'teams.tier')
    .selectAll('tiers')
    .where('projects.id', '=', projectId)
    .executeTakeFirstOrThrow()
}

/** What each plan allows, the smallest first. */
export async function listTiers(db: Db): Promise<ListedTier[]> {
  const rows = await db.selectFrom('tiers').selectAll().orderBy('rateMultiplier').orderBy('name').execute()
  return rows.map(toListedTier)
}

export function toListedTier({ name, updatedAt, ...limits }: Tiers): ListedTier {
  // The migration makes the names, and nothing else does.
  return { name: name as Tier, ...limits, updatedAt: updatedAt === null ? null : isoTime(updatedAt) }
}

/** The name of the best plan among a person's teams, for a query that has the table `users`: whoever works in a team on a plan has its rates. */
export const bestTierOfUser = sql<string>`(select plan.name from team_members
  join teams on teams.id = team_members.team_id join tiers plan on plan.name = teams.tier
  where team_members.user_id = users.id order by plan.rate_multiplier desc limit 1)`

/** The columns of `tiers` that bound requests. */
export const planColumns = [
  'tiers.rateMultiplier',
  'tiers.bodyBytes',
  'tiers.headerBytes',
  'tiers.stringLength',
  'tiers.arrayItems',
  'tiers.pageItems',
] as const

type PlanRow = { readonly [Name in keyof RequestPlan]: number | null }

/** The plan of a row that was read with `planColumns`; nothing where nobody's plan counts. */
export function toPlan(row: PlanRow): { plan?: RequestPlan } {
  const { rateMultiplier, bodyBytes, headerBytes, stringLength, arrayItems, pageItems } = row
  if (
    rateMultiplier === null ||
    bodyBytes === null ||
    headerBytes === null ||
    stringLength === null ||
    arrayItems === null ||
    pageItems === null
  )
    return {}
  return { plan: { rateMultiplier, bodyBytes, headerBytes, stringLength, arrayItems, pageItems } }
}
