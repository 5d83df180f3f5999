// The floor of P4: a long poll and what ends it, with nothing behind. POST /wait is answered by the next POST /wake.
import Fastify from 'fastify'

const app = Fastify()
let waiting = Promise.withResolvers<void>()
app.post('/wait', async () => {
  await waiting.promise
  return { woken: true }
})
app.post('/wake', async () => {
  waiting.resolve()
  waiting = Promise.withResolvers()
  return { woke: true }
})
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.on('disconnect', () => process.exit())
process.stdout.write(`${JSON.stringify({ event: 'listening', url })}\n`)
