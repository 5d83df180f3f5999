import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import type { Db } from './db/db.ts'

/**
 * What may have lost rights, by id: a person (deactivated, erased, a smaller role anywhere), an API key, everybody in a project or team. The lists are a
 * union: an effect proves anew whatever touches any of them, by the rows as they are now. So to name too much is slow, and never wrong.
 */
export interface Revocation {
  readonly users?: readonly string[]
  /** Whose sessions end, all but at most one, and why (`sessions.revoked_reason`). */
  readonly sessionsOf?: readonly {
    readonly userId: string
    readonly exceptId: string | null
    readonly reason: string
  }[]
  readonly apiKeys?: readonly string[]
  readonly projects?: readonly string[]
  readonly teams?: readonly string[]
}

/**
 * Something that stands on rights and must fall with them. `apply` runs in the transaction that takes them away, after the rows say
 * so; what it returns runs after the commit (news on the bus, never the truth).
 */
export interface RevocationEffect {
  readonly name: string
  apply(ctx: Context, tx: Db, actor: Actor, revocation: Revocation): Promise<(() => void) | undefined>
}

const effectsOf = new WeakMap<Context, readonly RevocationEffect[]>()

/** Says what falls with revoked rights: the one list of it is server/revocations.ts. */
export function setRevocationEffects(ctx: Context, effects: readonly RevocationEffect[]): void {
  effectsOf.set(ctx, effects)
}

/** Takes rights away inside `work`; every effect is applied before this resolves. */
export type Revoke = (revocation: Revocation) => Promise<void>

/**
 * The transaction of a change that takes rights away. Everything that stands on them (requirement A6: tokens, keys, jobs, leases, streams)
 * falls in the same commit; open streams of this process are woken at once, other processes hear of it through the identity epoch.
 */
export async function revoking<T>(
  ctx: Context,
  actor: Actor,
  work: (tx: Db, revoke: Revoke) => Promise<T>,
): Promise<T> {
  const effects = effectsOf.get(ctx)
  if (effects === undefined) throw new Error('rights were to be revoked before it was said what falls with them')
  // Of the attempt that committed: a transaction may be tried again.
  let afterCommit: (() => void)[] = []
  const result = await ctx.db.transaction(async (tx) => {
    afterCommit = []
    let hasRevoked = false
    const outcome = await work(tx, async (revocation) => {
      hasRevoked = true
      for (const effect of effects) {
        const after = await effect.apply(ctx, tx, actor, revocation)
        if (after !== undefined) afterCommit.push(after)
      }
    })
    // Last: the one row that all revocations share is locked no longer than the commit takes.
    if (hasRevoked) await advanceEpoch(tx)
    return outcome
  })
  ctx.bus.publish('identity')
  for (const act of afterCommit) act()
  return result
}

async function advanceEpoch(tx: Db): Promise<void> {
  await tx
    .updateTable('identityEpoch')
    .set((eb) => ({ epoch: eb('epoch', '+', 1) }))
    .where('id', '=', 1)
    .execute()
}
