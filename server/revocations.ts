import { endApprovals } from './device-login/device-login.ts'
import { endJobs } from './jobs/jobs.ts'
import type { Context } from './platform/context.ts'
import { type RevocationEffect, setRevocationEffects } from './platform/revocation.ts'
import { stopSchedules } from './schedules/schedules.ts'
import { endSessions } from './sessions/sessions.ts'

/** What falls when rights are taken away (requirement A6), in this order. Whatever new stands on rights, such as a stream with a state of its own or a preview, is listed here. */
const effects: readonly RevocationEffect[] = [endSessions, endApprovals, stopSchedules, endJobs]

/** To be called once for a context, before anything is served or done with it. */
export function registerRevocations(ctx: Context): void {
  setRevocationEffects(ctx, effects)
}
