import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { recordAudit } from './audit.ts'

export interface AccessAudit {
  /** Notes a request that was answered, where its address names a project. */
  note(actor: Actor, params: unknown, status: number): void
  /** Waits for what is being written. */
  settled(): Promise<void>
}

const hourMs = 3_600_000
/** Remembered in one hour; beyond it an access may be recorded twice, never not at all. */
const maxRemembered = 10_000

/** Remembers the first access of each session or key to a project in an hour (requirement K1): who has read what, without a row for each reading. By this process: another replica has an hour of its own. */
export function createAccessAudit(ctx: Context): AccessAudit {
  let hour = -1
  const seen = new Set<string>()
  let writing = Promise.resolve()

  const write = (actor: Actor, projectId: string): void => {
    writing = writing
      .then(() =>
        ctx.db.transaction(async (tx) => {
          const project = await tx
            .selectFrom('projects')
            .select('teamId')
            .where('id', '=', projectId)
            .executeTakeFirst()
          // Deleted with its team in this very request: that is an event of its own.
          if (project === undefined) return
          const target = { kind: 'project', id: projectId }
          await recordAudit(ctx, tx, actor, { action: 'project.accessed', target, teamId: project.teamId, projectId })
        }),
      )
      .catch((error: unknown) => ctx.log.error({ event: 'access_not_audited', projectId }, error))
  }

  return {
    note(actor, params, status) {
      if (status >= 400 || (actor.kind !== 'user' && actor.kind !== 'key')) return
      const projectId = typeof params === 'object' && params !== null && 'projectId' in params ? params.projectId : null
      if (typeof projectId !== 'string') return
      const now = Math.floor(ctx.clock.now() / hourMs)
      if (now !== hour || seen.size >= maxRemembered) seen.clear()
      hour = now
      const key = `${actor.sessionId ?? actor.id} ${projectId}`
      if (seen.has(key)) return
      seen.add(key)
      write(actor, projectId)
    },
    settled: () => writing,
  }
}
