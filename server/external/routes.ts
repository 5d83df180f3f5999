import * as contract from '@hivesync/contracts/external.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { readClient, readOfferedKey } from '../sessions/sessions.ts'
import { finishExternalLogin, getExternalProvider, startExternalLogin } from './external.ts'
import { finishExternalLink, listExternalIdentities, removeExternalIdentity, startExternalLink } from './link.ts'

export function externalRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.getExternalProvider, () => getExternalProvider(ctx))
  serve(app, contract.startExternalLogin, () => startExternalLogin(ctx))
  serve(app, contract.finishExternalLogin, async ({ actor, body, userAgent, deviceProof }) => {
    const deviceKey = await readOfferedKey(ctx, deviceProof, contract.finishExternalLogin)
    const client = await readClient(ctx, { device: body.device, userAgent, deviceKey })
    return finishExternalLogin(ctx, actor, body, client)
  })
  serve(app, contract.startExternalLink, ({ actor }) => startExternalLink(ctx, actor))
  serve(app, contract.finishExternalLink, ({ actor, body }) => finishExternalLink(ctx, actor, body))
  serve(app, contract.listExternalIdentities, ({ actor }) => listExternalIdentities(ctx, actor))
  serve(app, contract.removeExternalIdentity, async ({ actor, params }) => {
    await removeExternalIdentity(ctx, actor, params.externalIdentityId)
    return undefined
  })
}
