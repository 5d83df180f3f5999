// The server as a child of `npm start`: tells its parent when it listens, hands out the embedded worker's enrolment token, ends with its parent.
import { createEmbeddedEnrolment } from '../server/commands/enrol-embedded.ts'
import { serveCommand } from '../server/commands/serve.ts'
import type { FromServer, ToServer } from './messages.ts'

const send = (message: FromServer): void => void process.send?.(message)

const exitCode = await serveCommand([], (server) => {
  process.on('message', (message: ToServer) => {
    if (message.request !== 'enrolment') return
    createEmbeddedEnrolment(server.ctx).then(
      (token) => send({ event: 'enrolment', token }),
      (error: unknown) => server.ctx.log.error({ event: 'enrolment_failed' }, error),
    )
  })
  send({ event: 'listening', url: server.url })
})
process.exitCode = exitCode
process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'))
