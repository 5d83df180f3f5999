import * as accounts from './accounts.ts'
import * as apiKeys from './api-keys.ts'
import * as compat from './compat.ts'
import type { Endpoint } from './endpoint.ts'
import * as jobs from './jobs.ts'
import * as projects from './projects.ts'
import * as search from './search.ts'
import * as service from './service.ts'
import * as sessions from './sessions.ts'
import * as workerProtocol from './worker-protocol.ts'
import * as workers from './workers.ts'

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'method' in value && 'path' in value && 'access' in value
}

/** Every HTTP operation, by name: what the OpenAPI document, the access matrix and the SDK enumerate. */
export const operations: ReadonlyMap<string, Endpoint> = new Map(
  [service, accounts, sessions, apiKeys, projects, jobs, workers, workerProtocol, search, compat]
    .flatMap((module) => Object.values(module))
    .filter(isEndpoint)
    .map((operation) => [operation.name, operation]),
)
