import * as contract from '@hivesync/contracts/sessions.ts'
import type { FastifyInstance } from 'fastify'
import { challengePasskey } from '../mfa/mfa.ts'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { readOfferedKey } from './device-proof.ts'
import { listSigningKeys, rotateSigningKeys } from './rotate-keys.ts'
import {
  completeMfa,
  getKeySet,
  listSessions,
  logIn,
  logInWithPasskey,
  logOut,
  readClient,
  refresh,
  revokeOtherSessions,
  revokeSession,
  startMfaPasskey,
} from './sessions.ts'

export function sessionRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.logIn, async ({ actor, body, userAgent, deviceProof, source }) => {
    const deviceKey = await readOfferedKey(ctx, deviceProof, contract.logIn)
    const client = await readClient(ctx, { device: body.device, userAgent, deviceKey })
    return logIn(ctx, actor, body, client, source)
  })
  serve(app, contract.completeMfa, async ({ actor, body, deviceProof }) =>
    completeMfa(ctx, actor, body, await readOfferedKey(ctx, deviceProof, contract.completeMfa)),
  )
  serve(app, contract.startMfaPasskey, ({ body }) => startMfaPasskey(ctx, body))
  serve(app, contract.startPasskeyLogin, () => challengePasskey(ctx, { userId: null, sessionId: null, binding: '' }))
  serve(app, contract.logInWithPasskey, async ({ actor, body, userAgent, deviceProof, source }) => {
    const deviceKey = await readOfferedKey(ctx, deviceProof, contract.logInWithPasskey)
    const client = await readClient(ctx, { device: body.device, userAgent, deviceKey })
    return logInWithPasskey(ctx, actor, body, client, source)
  })
  serve(app, contract.refresh, ({ actor, body, deviceProof }) => {
    const { method, path } = contract.refresh
    return refresh(ctx, actor, body, { header: deviceProof, method, path })
  })
  serve(app, contract.logOut, async ({ actor }) => {
    await logOut(ctx, actor)
    return undefined
  })
  serve(app, contract.listSessions, ({ actor, query }) => listSessions(ctx, actor, query))
  serve(app, contract.revokeSession, async ({ actor, params }) => {
    await revokeSession(ctx, actor, params.sessionId)
    return undefined
  })
  serve(app, contract.revokeOtherSessions, async ({ actor }) => {
    await revokeOtherSessions(ctx, actor)
    return undefined
  })
  serve(app, contract.getKeySet, () => getKeySet(ctx))
  serve(app, contract.listSigningKeys, () => listSigningKeys(ctx))
  serve(app, contract.rotateSigningKeys, ({ actor, body }) => rotateSigningKeys(ctx, actor, body))
}
