import { join } from 'node:path'
import * as contract from '@hivesync/contracts/account-pages.ts'
import type { FastifyInstance } from 'fastify'
import { serveBrowserPage, serveBrowserScripts } from '../platform/http/browser-page.ts'

const folder = join(import.meta.dirname, 'pages')

/** The pages on which people sign in while there is no console: one document, which looks at its own address for what it is to do. */
export function accountPageRoutes(app: FastifyInstance): void {
  const file = join(folder, 'page.html')
  serveBrowserPage(app, [
    [contract.getDevicePage, file],
    [contract.getInvitationPage, file],
    [contract.getPasskeysPage, file],
    [contract.getExternalPage, file],
  ])
  serveBrowserScripts(app, contract.getAccountPageScript, folder, contract.accountScripts)
}
