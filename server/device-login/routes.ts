import * as contract from '@hivesync/contracts/device-login.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { readClient, readOfferedKey, requireDeviceKey } from '../sessions/sessions.ts'
import { approveDeviceLogin, denyDeviceLogin, getDeviceLogin } from './decide.ts'
import { pollDeviceLogin, startDeviceLogin } from './device-login.ts'

export function deviceLoginRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.startDeviceLogin, async ({ actor, body, deviceProof }) =>
    startDeviceLogin(ctx, actor, body, await readOfferedKey(ctx, deviceProof, contract.startDeviceLogin)),
  )
  serve(app, contract.pollDeviceLogin, async ({ actor, body, userAgent, deviceProof }) => {
    const client = await readClient(ctx, { userAgent, deviceKey: null })
    return pollDeviceLogin(ctx, actor, body, client, ({ deviceKey }) =>
      requireDeviceKey(ctx, deviceProof, contract.pollDeviceLogin, deviceKey),
    )
  })
  serve(app, contract.getDeviceLogin, ({ actor, body }) => getDeviceLogin(ctx, actor, body.userCode))
  serve(app, contract.approveDeviceLogin, async ({ actor, body }) => {
    await approveDeviceLogin(ctx, actor, body.userCode)
    return undefined
  })
  serve(app, contract.denyDeviceLogin, async ({ actor, body }) => {
    await denyDeviceLogin(ctx, actor, body.userCode)
    return undefined
  })
}
