import type { FastifyInstance } from 'fastify'
import { accountPageRoutes } from './account-pages/routes.ts'
import { accountRoutes } from './accounts/routes.ts'
import { adminRoutes } from './admin/routes.ts'
import { alertRoutes } from './alerts/routes.ts'
import { artifactRoutes } from './artifacts/routes.ts'
import { createAccessAudit } from './audit/accesses.ts'
import { createRefusalAudit, noteRefusal, type RefusalAudit } from './audit/refusals.ts'
import { auditRoutes } from './audit/routes.ts'
import { bundleRoutes } from './bundles/routes.ts'
import { compatRoutes } from './compat/routes.ts'
import { credentialRoutes } from './credentials/routes.ts'
import { deviceLoginRoutes } from './device-login/routes.ts'
import { egressRoutes } from './egress/routes.ts'
import { externalRoutes } from './external/routes.ts'
import { createDispatcher } from './jobs/jobs.ts'
import { leaseRoutes } from './jobs/lease-routes.ts'
import { jobRoutes } from './jobs/routes.ts'
import { type BearerAuthenticator, createBearerAuthenticator } from './keys/keys.ts'
import { keyRoutes } from './keys/routes.ts'
import { spendStepUp } from './mfa/mfa.ts'
import { mfaRoutes } from './mfa/routes.ts'
import { operationRoutes } from './operations/routes.ts'
import type { Actor } from './platform/actor.ts'
import type { Context } from './platform/context.ts'
import type { SensitiveAct } from './platform/http/guard.ts'
import { createHttp } from './platform/http/http.ts'
import { createMemoryWindows } from './platform/limits/memory-windows.ts'
import type { Windows } from './platform/limits/windows.ts'
import { postureRoutes } from './posture/routes.ts'
import { privacyRoutes } from './privacy/routes.ts'
import { projectRoutes } from './projects/routes.ts'
import { registerRevocations } from './revocations.ts'
import { scalingRoutes } from './scaling/routes.ts'
import { scheduleRoutes } from './schedules/routes.ts'
import { searchRoutes } from './search/routes.ts'
import { sessionRoutes } from './sessions/routes.ts'
import { teamRoutes } from './teams/routes.ts'
import { webhookRoutes } from './webhooks/routes.ts'
import { workerRoutes } from './workers/routes.ts'
import { createWorkerAuthenticator } from './workers/workers.ts'

/** The control plane's table of contents: every noun and its operations. */
export function createApp(
  ctx: Context,
  refusals: RefusalAudit = createRefusalAudit(ctx),
  bearer: BearerAuthenticator = createBearerAuthenticator(ctx),
  windows: Windows = createMemoryWindows(ctx.clock.now),
): FastifyInstance {
  registerRevocations(ctx)
  const dispatcher = createDispatcher(ctx)
  const authenticators = {
    bearer,
    worker: createWorkerAuthenticator(ctx),
    stepUp: (actor: Actor, act: SensitiveAct, proof: string | undefined) => spendStepUp(ctx, actor, act, proof),
  }
  const app = createHttp(ctx, authenticators, undefined, windows)

  const accesses = createAccessAudit(ctx)
  app.addHook('onResponse', (request, reply, done) => {
    noteRefusal(refusals, request, reply)
    accesses.note(request.actor, request.params, reply.statusCode)
    done()
  })

  operationRoutes(app, ctx, windows)
  accountRoutes(app, ctx)
  credentialRoutes(app, ctx)
  accountPageRoutes(app)
  sessionRoutes(app, ctx)
  mfaRoutes(app, ctx)
  keyRoutes(app, ctx)
  teamRoutes(app, ctx)
  projectRoutes(app, ctx)
  egressRoutes(app, ctx)
  jobRoutes(app, ctx)
  scheduleRoutes(app, ctx)
  leaseRoutes(app, ctx)
  artifactRoutes(app, ctx)
  bundleRoutes(app, ctx)
  workerRoutes(app, ctx, dispatcher)
  scalingRoutes(app, ctx)
  searchRoutes(app, ctx)
  webhookRoutes(app, ctx)
  externalRoutes(app, ctx)
  deviceLoginRoutes(app, ctx)
  adminRoutes(app, ctx)
  alertRoutes(app, ctx)
  postureRoutes(app, ctx)
  auditRoutes(app, ctx)
  privacyRoutes(app, ctx)
  compatRoutes(app, ctx)

  // Long polls and live streams end first: what waits for news would hold the stop up until its timeout.
  app.addHook('preClose', async () => {
    dispatcher.close()
    ctx.bus.publish('stopping')
  })
  app.addHook('onClose', async () => {
    await bearer.settled()
    await refusals.settled()
    await accesses.settled()
  })
  return app
}
