import { join } from 'node:path'
import * as accounts from '@hivesync/contracts/accounts.ts'
import * as admin from '@hivesync/contracts/admin.ts'
import * as contract from '@hivesync/contracts/credentials.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { pageStyle, serveBrowserPage } from '../platform/http/browser-page.ts'
import { serve } from '../platform/http/serve.ts'
import { confirmEmailChange, requestEmailChange } from './change-email.ts'
import { changePassword, setPassword } from './change-password.ts'
import { confirmRegistration } from './confirm-registration.ts'
import { register } from './register.ts'
import { requestPasswordReset, resetPassword, startUserReset } from './reset-password.ts'
import { requestEmailVerification, verifyEmail } from './verify-email.ts'

const folder = join(import.meta.dirname, 'link-page')

export function credentialRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, accounts.register, ({ actor, body, source }) => register(ctx, actor, body, source))
  serve(app, contract.confirmRegistration, ({ actor, body }) => confirmRegistration(ctx, actor, body))
  serve(app, contract.changePassword, async ({ actor, body }) => {
    await changePassword(ctx, actor, body)
    return undefined
  })
  serve(app, contract.setPassword, async ({ actor, body }) => {
    await setPassword(ctx, actor, body)
    return undefined
  })
  serve(app, contract.requestPasswordReset, async ({ actor, body, source }) => {
    await requestPasswordReset(ctx, actor, body, source)
    return undefined
  })
  serve(app, contract.resetPassword, async ({ actor, body }) => {
    await resetPassword(ctx, actor, body)
    return undefined
  })
  serve(app, admin.startUserReset, async ({ actor, params }) => {
    await startUserReset(ctx, actor, params.userId)
    return undefined
  })
  serve(app, contract.requestEmailVerification, async ({ actor, source }) => {
    await requestEmailVerification(ctx, actor, source)
    return undefined
  })
  serve(app, contract.verifyEmail, async ({ actor, body }) => {
    await verifyEmail(ctx, actor, body)
    return undefined
  })
  serve(app, contract.requestEmailChange, async ({ actor, body, source }) => {
    await requestEmailChange(ctx, actor, body, source)
    return undefined
  })
  serve(app, contract.confirmEmailChange, async ({ actor, body }) => {
    await confirmEmailChange(ctx, actor, body)
    return undefined
  })
  serveBrowserPage(app, [
    [contract.getAccountPage, join(folder, 'account.html')],
    [contract.getAccountScript, join(folder, 'account.js')],
    [contract.getAccountStyle, pageStyle],
  ])
}
