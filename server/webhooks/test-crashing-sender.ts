// For tests only: a process that delivers what is due and is killed while it does.
import { consumeOutbox } from '../outbox/outbox.ts'
import { parseConfig } from '../platform/config.ts'
import { createLogger } from '../platform/logger.ts'
import { openContext } from '../platform/open-context.ts'
import { sendWebhooks, toWebhooks, webhooksSettled } from './webhooks.ts'

const [settings = '{}'] = process.argv.slice(2)
const ctx = await openContext(
  parseConfig(JSON.parse(settings)),
  createLogger({ write: (line) => void process.stderr.write(line) }),
)
await consumeOutbox(ctx, [toWebhooks])
await sendWebhooks(ctx)
await webhooksSettled(ctx)
process.exitCode = 1
