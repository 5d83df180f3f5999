import type { PostureCheck } from '@hivesync/contracts/oversight.ts'
import type { Context } from '../platform/context.ts'
import { looks } from './checks.ts'

/** What makes this server safer or less so, looked at now (requirement L1). What cannot be looked at is a risk, not an error: the others are shown all the same. */
export function readPosture(ctx: Context): Promise<PostureCheck[]> {
  return Promise.all(
    looks.map(async ([name, look]) => {
      try {
        return { name, ...(await look(ctx)) }
      } catch (error) {
        ctx.log.error({ event: 'posture_unknown', name }, error)
        return { name, state: 'risk' as const, detail: 'It could not be looked at', fix: 'The log says why' }
      }
    }),
  )
}
