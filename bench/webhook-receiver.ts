// The other side of P10, in a process of its own: answers every POST at once, but one path never.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  request.resume()
  if (request.url === '/hang') return
  request.on('end', () => response.writeHead(204).end())
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  process.stdout.write(`${JSON.stringify({ event: 'listening', port })}\n`)
})
