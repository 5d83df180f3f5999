import * as contract from '@hivesync/contracts/privacy.ts'
import type { FastifyInstance } from 'fastify'
import { requireSession } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { eraseAccount } from './erase.ts'
import { exportMyData } from './export.ts'

export function privacyRoutes(app: FastifyInstance, ctx: Context): void {
  serveRaw(app, contract.exportMyData, async ({ actor }, request, reply) =>
    reply
      .header('content-disposition', 'attachment; filename="hivesync-account.json"')
      .type('application/json; charset=utf-8')
      .send(await exportMyData(ctx, actor, () => request.revalidate())),
  )
  serve(app, contract.eraseMe, async ({ actor }) => {
    await eraseAccount(ctx, actor, requireSession(actor).userId)
    return undefined
  })
  serve(app, contract.eraseUser, async ({ actor, params }) => {
    await eraseAccount(ctx, actor, params.userId)
    return undefined
  })
}
