import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import type { FastifyInstance } from 'fastify'
import { AppError } from '../errors.ts'
import { serveRaw } from './serve.ts'

/** Lets a page load its own files and talk to this server, and nothing else; nothing inline. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** How every page looks. */
export const pageStyle = join(import.meta.dirname, 'browser-page.css')

/**
 * Serves the files of a page for browsers; `isThere` may refuse each request. A page holds nothing that is anybody's: what it shows it is told
 * by its address's fragment and by operations it calls.
 */
export function serveBrowserPage(
  app: FastifyInstance,
  files: readonly (readonly [Endpoint, file: string])[],
  isThere?: () => Promise<void>,
): void {
  for (const [endpoint, file] of files) {
    const content = readFileSync(file)
    serveRaw(app, endpoint, async (_input, _request, reply) => {
      await isThere?.()
      return reply.header('content-security-policy', policy).type(`${endpoint.produces}; charset=utf-8`).send(content)
    })
  }
}

/** Serves the scripts of pages by the parameter `script`, which the contract allows these names and no others. */
export function serveBrowserScripts(
  app: FastifyInstance,
  endpoint: Endpoint,
  folder: string,
  names: readonly string[],
): void {
  const contents = new Map(names.map((name) => [name, readFileSync(join(folder, name))]))
  serveRaw(app, endpoint, async (_input, request, reply) => {
    const { script = '' } = request.params as { script?: string }
    const content = contents.get(script)
    if (content === undefined) throw new AppError('not_found')
    return reply.header('content-security-policy', policy).type(`${endpoint.produces}; charset=utf-8`).send(content)
  })
}
