import type { FastifyInstance } from 'fastify'
import { accountPageRoutes } from './account-pages/routes.ts'
import { accountRoutes } from './accounts/routes.ts'
import { adminRoutes } from './admin/routes.ts'
import { artifactRoutes } from './artifacts/routes.ts'
import { createRefusalAudit, type RefusalAudit } from './audit/refusals.ts'
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
import type { Context } from './platform/context.ts'
import { partialAddress } from './platform/http/client-address.ts'
import { createHttp } from './platform/http/http.ts'
import { privacyRoutes } from './privacy/routes.ts'
import { projectRoutes } from './projects/routes.ts'
import { registerRevocations } from './revocations.ts'
import { scalingRoutes } from './scaling/routes.ts'
import { scheduleRoutes } from './schedules/routes.ts'
import { searchRoutes } from './search/routes.ts'
import { sessionRoutes } from './sessions/routes.ts'
import { teamRoutes } from './teams/routes.ts'
import { workerRoutes } from './workers/routes.ts'
import { createWorkerAuthenticator } from './workers/workers.ts'

/** The control plane's table of contents: every noun and its operations. */
export function createApp(
  ctx: Context,
  refusals: RefusalAudit = createRefusalAudit(ctx),
  bearer: BearerAuthenticator = createBearerAuthenticator(ctx),
): FastifyInstance {
  registerRevocations(ctx)
  const dispatcher = createDispatcher(ctx)
  const app = createHttp(ctx, {
    bearer,
    worker: createWorkerAuthenticator(ctx),
    stepUp: (actor, act, proof) => spendStepUp(ctx, actor, act, proof),
  })

  app.addHook('onResponse', (request, reply, done) => {
    const endpoint = request.routeOptions.config.endpoint
    // Refused logins and the like are public operations, and audited by their verbs.
    if (reply.refusal !== null && reply.statusCode === 401 && endpoint !== undefined && endpoint.access !== 'public') {
      refusals.note({
        operation: endpoint.name,
        code: reply.refusal.code,
        ip: partialAddress(request.ip),
        requestId: request.id,
      })
    }
    done()
  })

  operationRoutes(app, ctx)
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
  externalRoutes(app, ctx)
  deviceLoginRoutes(app, ctx)
  adminRoutes(app, ctx)
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
  })
  return app
}
