// Runs inside the sandbox, before the job's command: `node forwarder.mjs <unix socket> <last descriptor> <command…>`.
// Listens on the sandbox's own loopback, passes bytes to the worker's filtering proxy, and ends as the command ends.
import { spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { constants } from 'node:os'

const PORT = 8118
const [, , socketPath, lastFd, program, ...args] = process.argv

const server = createServer({ allowHalfOpen: true }, (client) => {
  const proxy = connect({ path: socketPath, allowHalfOpen: true })
  const end = () => {
    client.destroy()
    proxy.destroy()
  }
  client.on('error', end)
  proxy.on('error', end)
  client.pipe(proxy)
  proxy.pipe(client)
})

const fail = (error) => {
  process.stderr.write(`egress forwarder: ${error.message}\n`)
  process.exit(error.code === 'ENOENT' ? 127 : 126)
}

server.once('error', fail)
// Stated, not looked up: where the job has no archive, descriptor 3 is one of Node's own.
const stdio = Array.from({ length: Number(lastFd) + 1 }, () => 'inherit')
server.listen(PORT, '127.0.0.1', () => {
  const command = spawn(program, args, { stdio })
  command.once('error', fail)
  // 128 + n is also what bubblewrap makes of a signal.
  command.once('exit', (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]))
})
