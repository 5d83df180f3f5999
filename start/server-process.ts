// The server as a child of `npm start`: tells its parent when it listens, hands out the embedded worker's enrolment token, ends with its parent.
import { createEmbeddedEnrolment } from '../server/commands/enrol-embedded.ts'
import { serveCommand } from '../server/commands/serve.ts'
import { type Logger, withoutRoutine } from '../server/platform/logger.ts'
import { explainFailure } from './failure.ts'
import type { FromServer, ToServer } from './messages.ts'
import { say } from './terminal.ts'

/** EX_UNAVAILABLE of sysexits.h. */
const unavailable = 69

const send = (message: FromServer): void => void process.send?.(message)

// Heard from the first moment: until the server listens to SIGTERM itself, it just ends, which it survives like any crash.
const end = (): void => void process.kill(process.pid, 'SIGTERM')
process.on('disconnect', end)
if (process.connected === false) end()

/** A pipe and a process manager get every line; a person gets what is for people, and what went wrong. */
const onTerminal = (log: Logger): Logger => (process.stderr.isTTY === true ? withoutRoutine(log) : log)

try {
  process.exitCode = await serveCommand(
    [],
    (server) => {
      process.on('message', (message: ToServer) => {
        if (message.request !== 'enrolment') return
        createEmbeddedEnrolment(server.ctx).then(
          (token) => send({ event: 'enrolment', token }),
          (error: unknown) => {
            server.ctx.log.error({ event: 'enrolment_failed' }, error)
            send({ event: 'enrolment', token: null })
          },
        )
      })
      send({ event: 'listening', url: server.url })
    },
    onTerminal,
  )
} catch (error) {
  const explanation = explainFailure(error)
  if (explanation === undefined) throw error
  say(explanation)
  // What was opened before the refusal, such as the database, would keep the process alive.
  process.exit(unavailable)
}
