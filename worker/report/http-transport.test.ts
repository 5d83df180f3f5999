import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../clock.ts'
import { makeCertificate } from '../test-support/certificate.ts'
import { createTransport, ServerAway } from './http-transport.ts'

async function openTls(t: TestContext, name: string) {
  const { ca, cert, key } = await makeCertificate(t, name)
  let heard = 0
  const server = createServer({ cert, key }, (request, response) => {
    heard += 1
    request.resume()
    response.end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    return new Promise<void>((resolve) => server.close(() => resolve()))
  })
  const { port } = server.address() as AddressInfo
  const ask = async (trusted: string | undefined, host = '127.0.0.1') => {
    const transport = createTransport({ origin: `https://${host}:${port}`, ca: trusted, clock: systemClock })
    try {
      const body = Buffer.from('{}')
      const call = { method: 'POST', target: '/', headers: {}, body, timeoutMs: 30_000, maxReplyBytes: 100 } as const
      return (await transport.send(call)).status
    } finally {
      transport.close()
    }
  }
  return { ca, ask, heard: () => heard }
}

const isAway = (code: string) => (error: unknown) => error instanceof ServerAway && error.message === code

test('a server with a certificate of an authority in the CA file is trusted, and without it not spoken to', async (t) => {
  const { ca, ask, heard } = await openTls(t, 'IP:127.0.0.1')
  await assert.rejects(ask(undefined), isAway('UNABLE_TO_VERIFY_LEAF_SIGNATURE'))
  assert.equal(heard(), 0)
  assert.equal(await ask(ca), 200)
})

test('a certificate for another name is refused though its authority is trusted', async (t) => {
  const { ca, ask, heard } = await openTls(t, 'DNS:hive.example.net')
  await assert.rejects(ask(ca), isAway('ERR_TLS_CERT_ALTNAME_INVALID'))
  await assert.rejects(ask(ca, 'localhost'), isAway('ERR_TLS_CERT_ALTNAME_INVALID'))
  assert.equal(heard(), 0)
})

test('another authority is refused though it has the same name', async (t) => {
  const { ask, heard } = await openTls(t, 'IP:127.0.0.1')
  const { ca } = await makeCertificate(t, 'IP:127.0.0.1')
  await assert.rejects(ask(ca), ServerAway)
  assert.equal(heard(), 0)
})
