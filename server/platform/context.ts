import type { Bus } from './bus.ts'
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import type { Keyring } from './crypto/keyring.ts'
import type { Database } from './db/db.ts'
import type { Logger } from './logger.ts'
import type { MailTransport } from './mail/transport.ts'
import type { Metrics } from './metrics.ts'
import type { Net } from './net/net.ts'
import type { Random } from './random.ts'
import type { Store } from './store/store.ts'
import type { Tracer } from './tracing.ts'

/** What every verb may use; built once in main.ts. Modules are imported, not injected. */
export interface Context {
  readonly config: Config
  readonly db: Database
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly metrics: Metrics
  readonly keyring: Keyring
  readonly bus: Bus
  /** Contents too large for the database: bundles and artifacts. */
  readonly store: Store
  /** Where the mail queue empties into; verbs queue with `sendMail`. */
  readonly mail: MailTransport
  /** The way out for requests whose address somebody chose. */
  readonly net: Net
  /** Undefined where nobody collects traces. */
  readonly tracer?: Tracer | undefined
}
