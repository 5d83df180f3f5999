import type { Context } from './context.ts'

const epochs = new WeakMap<Context, number>()

/**
 * Looks whether another process has taken rights away and says so on this one's bus; called every half second, so that what lives
 * longer than a request ends within a second (requirement A6). When it cannot look it says so too, every time: whoever hears it
 * proves the rights anew, cannot, and ends. Stale news never keep anything open.
 */
export async function hearIdentityNews(ctx: Context): Promise<void> {
  try {
    const { epoch } = await ctx.db.kysely
      .selectFrom('identityEpoch')
      .select('epoch')
      .where('id', '=', 1)
      .executeTakeFirstOrThrow()
    const known = epochs.get(ctx)
    epochs.set(ctx, epoch)
    // At the first look too: what happened before it was not heard.
    if (known !== epoch) ctx.bus.publish('identity')
  } catch (error) {
    ctx.bus.publish('identity')
    throw error
  }
}
