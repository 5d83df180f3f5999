import * as contract from '@hivesync/contracts/mfa.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { listFactors } from './mfa.ts'
import { addPasskey, removePasskey, renamePasskey, startPasskey } from './passkeys.ts'
import { renewRecoveryCodes } from './recovery-codes.ts'
import { startStepUp, stepUp } from './step-up.ts'
import { confirmTotp, removeTotp, startTotp } from './totp.ts'

const defaultName = 'Authenticator app'

export function mfaRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.listFactors, ({ actor }) => listFactors(ctx, actor))
  serve(app, contract.startTotp, ({ actor, body }) => startTotp(ctx, actor, body.name ?? defaultName))
  serve(app, contract.confirmTotp, ({ actor, body }) => confirmTotp(ctx, actor, body.code))
  serve(app, contract.removeTotp, async ({ actor }) => {
    await removeTotp(ctx, actor)
    return undefined
  })
  serve(app, contract.renewRecoveryCodes, ({ actor }) => renewRecoveryCodes(ctx, actor))
  serve(app, contract.startPasskey, ({ actor }) => startPasskey(ctx, actor))
  serve(app, contract.addPasskey, ({ actor, body }) => addPasskey(ctx, actor, body))
  serve(app, contract.renamePasskey, ({ actor, params, body }) => renamePasskey(ctx, actor, params.factorId, body.name))
  serve(app, contract.removePasskey, async ({ actor, params }) => {
    await removePasskey(ctx, actor, params.factorId)
    return undefined
  })
  serve(app, contract.startStepUp, ({ actor, body }) => startStepUp(ctx, actor, body))
  serve(app, contract.stepUp, ({ actor, body }) => stepUp(ctx, actor, body))
}
