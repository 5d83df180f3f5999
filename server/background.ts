import { pruneAlerts, watchConditions } from './alerts/alerts.ts'
import { sweepArtifacts } from './artifacts/artifacts.ts'
import { rewrapAuditKeys } from './audit/keys.ts'
import { pruneByRetention } from './audit/prune.ts'
import { sequenceAudit } from './audit/sequence.ts'
import { shipAudit } from './audit/ship.ts'
import { sweepBundles } from './bundles/bundles.ts'
import { pruneDeviceLogins } from './device-login/device-login.ts'
import { keepFaults, pruneFaults } from './faults/faults.ts'
import {
  countJobs,
  endRightlessJobs,
  forgetJobs,
  forgetLogs,
  prune,
  reapLeases,
  reconcileCounters,
  skipExpired,
  traceJobs,
} from './jobs/jobs.ts'
import { remindKeyExpiry } from './keys/keys.ts'
import { taskEnded, taskStarts } from './operations/operations.ts'
import { consumeOutbox } from './outbox/outbox.ts'
import type { Context } from './platform/context.ts'
import { hearIdentityNews } from './platform/identity-news.ts'
import { pruneFailures } from './platform/limits/failures.ts'
import { deliverMail } from './platform/mail/mail.ts'
import { pruneOneTimeTokens } from './platform/one-time-tokens.ts'
import { sampleEveryMs, sampleLoad } from './scaling/scaling.ts'
import { runDueSchedules } from './schedules/schedules.ts'
import { sweepIndexes } from './search/search.ts'
import { pruneProofs, pruneSessions, tendSigningKeys } from './sessions/sessions.ts'
import { sweepStore } from './storage/storage.ts'
import { pruneInvitations } from './teams/teams.ts'
import { pruneWebhooks, rewrapWebhookKeys, sendWebhooks, toWebhooks, webhooksSettled } from './webhooks/webhooks.ts'
import { retireSilent } from './workers/workers.ts'

interface Task {
  name: string
  everyMs: number
  run(ctx: Context): Promise<unknown>
}

/** What the control plane does on its own, and how often. Each run ends before its next begins; a failure is logged and the next run tries again. */
const tasks: readonly Task[] = [
  { name: 'reap_leases', everyMs: 1000, run: reapLeases },
  { name: 'skip_expired', everyMs: 1000, run: skipExpired },
  { name: 'end_rightless_jobs', everyMs: 1000, run: endRightlessJobs },
  { name: 'run_due_schedules', everyMs: 1000, run: runDueSchedules },
  { name: 'sequence_audit', everyMs: 1000, run: sequenceAudit },
  { name: 'ship_audit', everyMs: 1000, run: (ctx) => shipAudit(ctx) },
  { name: 'prune_audit', everyMs: 3_600_000, run: pruneByRetention },
  { name: 'rewrap_audit_keys', everyMs: 3_600_000, run: rewrapAuditKeys },
  { name: 'hear_identity_news', everyMs: 500, run: hearIdentityNews },
  { name: 'tell_webhooks', everyMs: 250, run: tellWebhooks },
  { name: 'sample_load', everyMs: sampleEveryMs, run: sampleLoad },
  { name: 'keep_faults', everyMs: 5000, run: keepFaults },
  { name: 'watch_conditions', everyMs: 30_000, run: (ctx) => watchConditions(ctx) },
  { name: 'prune_alerts', everyMs: 3_600_000, run: pruneAlerts },
  { name: 'prune_faults', everyMs: 3_600_000, run: pruneFaults },
  { name: 'deliver_mail', everyMs: 1000, run: deliverMail },
  { name: 'reconcile_counters', everyMs: 60_000, run: reconcileCounters },
  { name: 'retire_silent_workers', everyMs: 60_000, run: retireSilent },
  { name: 'prune', everyMs: 60_000, run: prune },
  { name: 'remind_key_expiry', everyMs: 3_600_000, run: remindKeyExpiry },
  { name: 'rotate_signing_keys', everyMs: 60_000, run: tendSigningKeys },
  { name: 'prune_one_time_tokens', everyMs: 60_000, run: pruneOneTimeTokens },
  { name: 'prune_failures', everyMs: 600_000, run: pruneFailures },
  { name: 'forget_logs', everyMs: 3_600_000, run: forgetLogs },
  { name: 'forget_jobs', everyMs: 3_600_000, run: forgetJobs },
  { name: 'prune_sessions', everyMs: 3_600_000, run: pruneSessions },
  { name: 'prune_device_proofs', everyMs: 60_000, run: pruneProofs },
  { name: 'prune_device_logins', everyMs: 60_000, run: pruneDeviceLogins },
  { name: 'prune_invitations', everyMs: 600_000, run: pruneInvitations },
  { name: 'sweep_indexes', everyMs: 600_000, run: sweepIndexes },
  { name: 'sweep_artifacts', everyMs: 60_000, run: sweepArtifacts },
  { name: 'sweep_bundles', everyMs: 60_000, run: sweepBundles },
  { name: 'prune_webhooks', everyMs: 600_000, run: pruneWebhooks },
  { name: 'rewrap_webhook_keys', everyMs: 60_000, run: rewrapWebhookKeys },
  { name: 'sweep_store', everyMs: 3_600_000, run: sweepStore },
]

/** Everybody who hears of what was committed, then the deliveries that came of it or are due again. */
async function tellWebhooks(ctx: Context): Promise<void> {
  await consumeOutbox(ctx, [toWebhooks], [countJobs, traceJobs])
  await sendWebhooks(ctx)
}

/** Starts the tasks; the function returned stops them and waits for those under way. */
export function startBackground(ctx: Context): () => Promise<void> {
  for (const task of tasks) taskStarts(ctx, task.name, task.everyMs)
  const running = new Set<Promise<void>>()
  const timers = tasks.map((task) => {
    let busy = false
    const run = async (): Promise<void> => {
      try {
        await task.run(ctx)
        taskEnded(ctx, task.name, 'succeeded')
      } catch (error) {
        taskEnded(ctx, task.name, 'failed')
        ctx.log.error({ event: 'task_failed', name: task.name }, error)
      }
      busy = false
    }
    return setInterval(() => {
      if (busy) return
      busy = true
      const done = run().finally(() => running.delete(done))
      running.add(done)
    }, task.everyMs)
  })
  return async () => {
    for (const timer of timers) clearInterval(timer)
    await Promise.all(running)
    await webhooksSettled(ctx)
  }
}
