import { join } from 'node:path'
import * as contract from '@hivesync/contracts/accounts.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { pageStyle, serveBrowserPage } from '../platform/http/browser-page.ts'
import { isSetUp } from './setup.ts'

const folder = join(import.meta.dirname, 'setup-page')

/** The page behind the setup link that is printed at the first start; `not_found` once there is an admin. */
export function setupPageRoutes(app: FastifyInstance, ctx: Context): void {
  serveBrowserPage(
    app,
    [
      [contract.getSetupPage, join(folder, 'setup.html')],
      [contract.getSetupScript, join(folder, 'setup.js')],
      [contract.getSetupStyle, pageStyle],
    ],
    async () => {
      if (await isSetUp(ctx)) throw new AppError('not_found')
    },
  )
}
