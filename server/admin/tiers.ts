import type { ListedTier, Tier, TierLimits } from '@hivesync/contracts/tiers.ts'
import { recordAudit } from '../audit/audit.ts'
import { applyPlan } from '../jobs/jobs.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { revoking } from '../platform/revocation.ts'
import { toListedTier } from '../tiers/tiers.ts'

/**
 * Changes what a plan allows. It holds with the commit for every job, upload and request of its teams; other replicas keep what they know of a session
 * for at most half a second. What runs or is stored beyond a smaller plan stays, and nothing is added to it.
 */
export async function changeTier(
  ctx: Context,
  actor: Actor,
  name: Tier,
  changes: Partial<TierLimits>,
): Promise<ListedTier> {
  const changed = await revoking(ctx, actor, async (tx, revoke) => {
    const row = await tx
      .updateTable('tiers')
      .set({ ...changes, updatedAt: ctx.clock.now() })
      .where('name', '=', name)
      .returningAll()
      .executeTakeFirstOrThrow()
    await recordAudit(ctx, tx, actor, {
      action: 'tier.changed',
      target: { kind: 'tier', id: name },
      details: { ...changes },
    })
    const teams = tx.selectFrom('teams').select('id').where('tier', '=', name)
    await applyPlan(tx, teams, row)
    // Nobody lost a right; but what is remembered of people holds their plan.
    await revoke({})
    return row
  })
  ctx.bus.publish('jobs')
  return toListedTier(changed)
}

/** Puts a team on another plan, with the same effect. */
export async function setTeamTier(ctx: Context, actor: Actor, teamId: string, name: Tier): Promise<void> {
  await revoking(ctx, actor, async (tx, revoke) => {
    const team = await tx
      .updateTable('teams')
      .set({ tier: name })
      .where('id', '=', teamId)
      .returning('id')
      .executeTakeFirst()
    if (team === undefined) throw new AppError('team_not_found', { teamId })
    const plan = await tx.selectFrom('tiers').selectAll().where('name', '=', name).executeTakeFirstOrThrow()
    const act = { action: 'team.tier_changed', target: { kind: 'team', id: teamId }, teamId, details: { tier: name } }
    await recordAudit(ctx, tx, actor, act)
    await applyPlan(tx, tx.selectFrom('teams').select('id').where('id', '=', teamId), plan)
    await revoke({})
  })
  ctx.bus.publish('jobs')
}
