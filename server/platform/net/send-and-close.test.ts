import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createServer } from 'node:tls'
import { sendAndClose } from './send-and-close.ts'
import { makeCertificate } from './test-receiver.ts'

test('over TLS, nothing is sent to whoever shows a certificate of an unknown authority', async () => {
  const certificate = await makeCertificate('localhost')
  const read: Buffer[] = []
  const server = createServer(certificate, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => read.push(chunk))
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const peer = { host: 'localhost', port, isTls: true }
  await assert.rejects(sendAndClose(peer, Buffer.from('an event'), 10_000), { code: /CERT|SIGNATURE|ISSUER/ })
  assert.equal(Buffer.concat(read).length, 0)
  await new Promise((resolve) => server.close(resolve))
})
