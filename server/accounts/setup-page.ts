import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import * as contract from '@hivesync/contracts/accounts.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import { serveRaw } from '../platform/http/serve.ts'
import { isSetUp } from './setup.ts'

/** Lets the page load its own two files and talk to this server, and nothing else; nothing inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const files: readonly (readonly [Endpoint, file: string])[] = [
  [contract.getSetupPage, 'setup.html'],
  [contract.getSetupScript, 'setup.js'],
  [contract.getSetupStyle, 'setup.css'],
]

/** The page behind the setup link that is printed at the first start; `not_found` once there is an admin. */
export function setupPageRoutes(app: FastifyInstance, ctx: Context): void {
  for (const [endpoint, file] of files) {
    const content = readFileSync(join(import.meta.dirname, 'setup-page', file))
    serveRaw(app, endpoint, async (_input, _request, reply) => {
      if (await isSetUp(ctx)) throw new AppError('not_found')
      return reply.header('content-security-policy', policy).type(`${endpoint.produces}; charset=utf-8`).send(content)
    })
  }
}
