import * as accountPages from './account-pages.ts'
import * as accounts from './accounts.ts'
import * as admin from './admin.ts'
import * as apiKeys from './api-keys.ts'
import * as artifacts from './artifacts.ts'
import * as audit from './audit.ts'
import * as bulk from './bulk.ts'
import * as bundles from './bundles.ts'
import * as compat from './compat.ts'
import * as credentials from './credentials.ts'
import * as deviceLogin from './device-login.ts'
import * as egress from './egress.ts'
import type { Endpoint } from './endpoint.ts'
import * as external from './external.ts'
import * as fogScheduler from './fog-scheduler.ts'
import * as jobs from './jobs.ts'
import * as mfa from './mfa.ts'
import * as oversight from './oversight.ts'
import * as privacy from './privacy.ts'
import * as projects from './projects.ts'
import * as queues from './queues.ts'
import * as scaling from './scaling.ts'
import * as schedules from './schedules.ts'
import * as search from './search.ts'
import * as service from './service.ts'
import * as sessions from './sessions.ts'
import * as teams from './teams.ts'
import * as tiers from './tiers.ts'
import * as webhooks from './webhooks.ts'
import * as workerProtocol from './worker-protocol.ts'
import * as workers from './workers.ts'

function isEndpoint(value: unknown): value is Endpoint {
  return typeof value === 'object' && value !== null && 'method' in value && 'path' in value && 'access' in value
}

/** Typed as what is read of them: an array of their own types takes the compiler minutes. */
const modules: readonly Readonly<Record<string, unknown>>[] = [
  service,
  accounts,
  sessions,
  credentials,
  accountPages,
  mfa,
  apiKeys,
  teams,
  projects,
  egress,
  jobs,
  bulk,
  queues,
  schedules,
  workers,
  workerProtocol,
  artifacts,
  bundles,
  scaling,
  search,
  compat,
  admin,
  audit,
  tiers,
  oversight,
  webhooks,
  external,
  fogScheduler,
  deviceLogin,
  privacy,
]

/** Every HTTP operation, by name: what the OpenAPI document, the access matrix and the SDK enumerate. */
export const operations: ReadonlyMap<string, Endpoint> = new Map(
  modules
    .flatMap((module) => Object.values(module))
    .filter(isEndpoint)
    .map((operation) => [operation.name, operation]),
)
