import type { FastifyInstance } from 'fastify'
import { accountRoutes } from './accounts/routes.ts'
import { compatRoutes } from './compat/routes.ts'
import { createDispatcher } from './jobs/jobs.ts'
import { leaseRoutes } from './jobs/lease-routes.ts'
import { jobRoutes } from './jobs/routes.ts'
import { createBearerAuthenticator } from './keys/keys.ts'
import { keyRoutes } from './keys/routes.ts'
import { operationRoutes } from './operations/routes.ts'
import type { Context } from './platform/context.ts'
import { createHttp } from './platform/http/http.ts'
import { projectRoutes } from './projects/routes.ts'
import { searchRoutes } from './search/routes.ts'
import { sessionRoutes } from './sessions/routes.ts'
import { workerRoutes } from './workers/routes.ts'
import { createWorkerAuthenticator } from './workers/workers.ts'

/** The control plane's table of contents: every noun and its operations. */
export function createApp(ctx: Context): FastifyInstance {
  const bearer = createBearerAuthenticator(ctx)
  const dispatcher = createDispatcher(ctx)
  const app = createHttp(ctx, { bearer, worker: createWorkerAuthenticator(ctx) })

  operationRoutes(app, ctx)
  accountRoutes(app, ctx)
  sessionRoutes(app, ctx)
  keyRoutes(app, ctx)
  projectRoutes(app, ctx)
  jobRoutes(app, ctx)
  leaseRoutes(app, ctx)
  workerRoutes(app, ctx, dispatcher)
  searchRoutes(app, ctx)
  compatRoutes(app, ctx)

  // Long polls and live streams end first: what waits for news would hold the stop up until its timeout.
  app.addHook('preClose', async () => {
    dispatcher.close()
    ctx.bus.publish('stopping')
  })
  app.addHook('onClose', () => bearer.settled())
  return app
}
