import assert from 'node:assert/strict'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { createServer, type TLSSocket } from 'node:tls'
import { runWorker } from './main.ts'
import { makeCertificate } from './test-support/certificate.ts'
import { openContractServer } from './test-support/contract-server.ts'
import { makeTestFolder } from './test-support/enrolled-client.ts'

/** A server of the worker protocol behind TLS, with a certificate that an authority of the test's own gave to `name`. */
async function openTlsServer(t: TestContext, name: string) {
  const server = await openContractServer()
  t.after(() => server.close())
  const { caFile, cert, key } = await makeCertificate(t, name)
  const sockets = new Set<TLSSocket>()
  const front = createServer({ cert, key }, (client) => {
    sockets.add(client)
    const upstream = connect(server.port, '127.0.0.1')
    pipeline(client, upstream, client, () => {}) // who hangs up, and how, is what the worker under test sees
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise<void>((resolve) => front.close(() => resolve()))
  })
  return { server, caFile, origin: `https://127.0.0.1:${(front.address() as AddressInfo).port}` }
}

/** Runs a worker until it has logged `event`, and answers that line. */
async function runUntil(t: TestContext, event: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const seen = Promise.withResolvers<Record<string, unknown>>()
  const drain = new AbortController()
  const ended = runWorker({
    env: { HIVESYNC_WORKER_DATA: join(await makeTestFolder(t), 'worker'), HIVESYNC_WORKER_SLOTS: '1', ...env },
    write(line) {
      const said: Record<string, unknown> = JSON.parse(line)
      if (said.event === event) seen.resolve(said)
    },
    complain: (line) => seen.reject(new Error(line)),
    drain: drain.signal,
  })
  try {
    return await Promise.race([seen.promise, ended.then((code) => Promise.reject(new Error(`ended with ${code}`)))])
  } finally {
    drain.abort(new Error('the test has seen enough'))
    await ended
  }
}

test('a worker enrols and works over TLS with a server that the CA file vouches for', async (t) => {
  const { server, caFile, origin } = await openTlsServer(t, 'IP:127.0.0.1')
  const job = server.submit('compute', { command: ['echo', 'over TLS'] })
  await runUntil(t, 'job_completed', {
    HIVESYNC_WORKER_SERVER: origin,
    HIVESYNC_WORKER_TOKEN: server.enrolmentToken,
    HIVESYNC_WORKER_CA_FILE: caFile,
  })
  assert.deepEqual([job.completion?.outcome, server.text(job)], ['succeeded', 'over TLS\n'])
})

test('a worker tells its token to no server that nobody, or another authority, or another name vouches for', async (t) => {
  const { server, caFile, origin } = await openTlsServer(t, 'IP:127.0.0.1')
  const stranger = await makeCertificate(t, 'IP:127.0.0.1')
  const misnamed = await openTlsServer(t, 'DNS:hive.example.net')
  const cases: [string, Record<string, string>, RegExp][] = [
    [origin, {}, /UNABLE_TO_VERIFY_LEAF_SIGNATURE/],
    [origin, { HIVESYNC_WORKER_CA_FILE: stranger.caFile }, /CERT|VERIFY|SIGNATURE/],
    [misnamed.origin, { HIVESYNC_WORKER_CA_FILE: misnamed.caFile }, /ERR_TLS_CERT_ALTNAME_INVALID/],
    // The name decides, not the address behind it.
    [origin.replace('127.0.0.1', 'localhost'), { HIVESYNC_WORKER_CA_FILE: caFile }, /ERR_TLS_CERT_ALTNAME_INVALID/],
  ]
  for (const [to, trust, reason] of cases) {
    const env = { HIVESYNC_WORKER_SERVER: to, HIVESYNC_WORKER_TOKEN: server.enrolmentToken, ...trust }
    assert.match(String((await runUntil(t, 'server_away', env)).reason), reason, to)
  }
  assert.deepEqual([server.requests, misnamed.server.requests], [[], []])
})
