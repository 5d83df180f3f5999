import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { generateEncodedKeyPair } from '@hivesync/protocol/keys.ts'
import { systemClock } from '../clock.ts'
import { createLogger } from '../logger.ts'
import { createTransport } from '../report/http-transport.ts'
import { createServerClient } from '../report/server-client.ts'
import { createServerTime } from '../report/server-time.ts'
import { type ContractServer, openContractServer } from '../test-support/contract-server.ts'
import { makeTestFolder } from '../test-support/enrolled-client.ts'
import { requireIdentity } from './enrol.ts'
import { findIdentity, identityFolder, makeDataFolder, StartRefused } from './identity.ts'
import { confirmMove } from './move.ts'
import { systemRandom } from './random.ts'
import { createKeyRing } from './rotate.ts'

async function openServer(t: TestContext): Promise<ContractServer> {
  const server = await openContractServer()
  t.after(() => server.close())
  return server
}

async function enrol(
  t: TestContext,
  server: ContractServer,
  dataDir: string,
  enrolmentToken: string | null,
  more: { enrolmentTokenFile?: string; movedFrom?: string } = {},
  write: (line: string) => void = () => {},
) {
  const transport = createTransport({ origin: server.origin, clock: systemClock })
  t.after(() => transport.close())
  await makeDataFolder(dataDir)
  return await requireIdentity({
    config: { server: server.origin, dataDir, enrolmentToken, name: 'edge', pool: 'default', ...more },
    transport,
    clock: systemClock,
    random: systemRandom,
    log: createLogger(write, systemClock.nowMs),
    signal: new AbortController().signal,
  })
}

test('a worker enrols once; the next start uses the stored identity', async (t) => {
  const server = await openServer(t)
  const dataDir = join(await makeTestFolder(t), 'worker')
  const first = await enrol(t, server, dataDir, server.enrolmentToken)
  const second = await enrol(t, server, dataDir, null)
  assert.deepEqual(second, first)
  assert.equal(server.requests.length, 1)
  assert.equal(server.workers.get(first.workerId)?.publicKey, first.keys.publicKey)
  assert.ok(!JSON.stringify(server.requests).includes(first.keys.privateKey), 'the private key never leaves the worker')
})

test('the identity is a 0600 file in a 0700 folder', async (t) => {
  const server = await openServer(t)
  const dataDir = join(await makeTestFolder(t), 'worker')
  await enrol(t, server, dataDir, server.enrolmentToken)
  const folder = identityFolder(dataDir)
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  assert.equal((await stat(join(folder, 'identity.json'))).mode & 0o777, 0o600)
})

test('the identity of another server, a damaged one and one others could read are refused', async (t) => {
  const [server, other] = [await openServer(t), await openServer(t)]
  const dataDir = join(await makeTestFolder(t), 'worker')
  await enrol(t, server, dataDir, server.enrolmentToken)
  await assert.rejects(enrol(t, other, dataDir, other.enrolmentToken), (error) => {
    return error instanceof StartRefused && error.message.includes(server.origin)
  })
  const path = join(identityFolder(dataDir), 'identity.json')
  await chmod(path, 0o644)
  await assert.rejects(enrol(t, server, dataDir, null), /read by others/)
  await chmod(path, 0o600)
  const { privateKey } = JSON.parse(await readFile(path, 'utf8')).keys as { privateKey: string }
  await writeFile(path, (await readFile(path, 'utf8')).replace(privateKey, `${privateKey.slice(0, -4)}AAAA`))
  await assert.rejects(enrol(t, server, dataDir, null), /damaged/)
  assert.equal(other.requests.length, 0)
})

test('without a token, and with a wrong one, the worker says how to get one', async (t) => {
  const server = await openServer(t)
  const dataDir = join(await makeTestFolder(t), 'worker')
  await assert.rejects(enrol(t, server, dataDir, null), /hivesync worker enrol/)
  await assert.rejects(enrol(t, server, dataDir, 'wrong'), /wrong, used or expired/)
})

test('a server that is not there yet is waited for', async (t) => {
  const server = await openServer(t)
  let refusals = 2
  server.intercept = () => (refusals-- > 0 ? 'hang up' : undefined)
  const dataDir = join(await makeTestFolder(t), 'worker')
  assert.equal((await enrol(t, server, dataDir, server.enrolmentToken)).name, 'edge')
  assert.equal(server.requests.length, 3)
})

test('a token file is removed once it is used, and one that cannot be removed is explained', async (t) => {
  const server = await openServer(t)
  const folder = await makeTestFolder(t)
  const enrolmentTokenFile = join(folder, 'token')
  await writeFile(enrolmentTokenFile, server.enrolmentToken, { mode: 0o600 })
  const first = join(folder, 'first')
  await enrol(t, server, first, server.enrolmentToken, { enrolmentTokenFile })
  await assert.rejects(stat(enrolmentTokenFile), { code: 'ENOENT' })
  server.workers.clear()
  const lines: string[] = []
  // A folder in its place cannot be removed like a file, not even by root.
  await mkdir(enrolmentTokenFile)
  await enrol(t, server, join(folder, 'second'), server.enrolmentToken, { enrolmentTokenFile }, (line) =>
    lines.push(line),
  )
  assert.ok(lines.some((line) => line.includes('token_file_kept')))
})

test('the token file of a fleet stays for the next worker, and a pool that the server gives is told', async (t) => {
  const server = await openServer(t)
  server.fleet = 'swarm'
  const folder = await makeTestFolder(t)
  const enrolmentTokenFile = join(folder, 'token')
  await writeFile(enrolmentTokenFile, server.enrolmentToken, { mode: 0o600 })
  const lines: string[] = []
  const enrolled = await Promise.all(
    ['first', 'second'].map((name) =>
      enrol(t, server, join(folder, name), server.enrolmentToken, { enrolmentTokenFile }, (line) => lines.push(line)),
    ),
  )
  assert.notEqual(enrolled[0]?.workerId, enrolled[1]?.workerId)
  assert.equal((await findIdentity(join(folder, 'first'), server.origin))?.ephemeral, true)
  assert.ok((await stat(enrolmentTokenFile)).isFile())
  assert.equal(lines.filter((line) => line.includes('pool_given')).length, 2)
})

test('a server at a new address is believed once it shows that it knows this worker', async (t) => {
  const [server, other] = [await openServer(t), await openServer(t)]
  const dataDir = join(await makeTestFolder(t), 'worker')
  const identity = await enrol(t, server, dataDir, server.enrolmentToken)
  await assert.rejects(enrol(t, other, dataDir, null), (error) => {
    return error instanceof StartRefused && error.message.includes(`HIVESYNC_WORKER_MOVED_FROM=${server.origin}`)
  })
  const log = createLogger(() => {}, systemClock.nowMs)
  const transport = createTransport({ origin: other.origin, clock: systemClock })
  t.after(() => transport.close())
  const time = createServerTime({ clock: systemClock, log })
  const signing = { transport, identity: createKeyRing(identity), clock: systemClock, time, random: systemRandom }
  const client = createServerClient({ ...signing, onCutOff: () => {} })
  const config = { server: other.origin, dataDir }
  const signal = new AbortController().signal
  const move = () => confirmMove({ identity, config, client, clock: systemClock, random: systemRandom, log, signal })
  await assert.rejects(move(), (error) => error instanceof StartRefused && error.message.includes('does not know'))
  assert.equal((await findIdentity(dataDir, server.origin))?.server, server.origin)
  other.workers.set(identity.workerId, { publicKey: generateEncodedKeyPair().publicKey, name: 'edge' })
  await assert.rejects(move(), StartRefused, 'one that knows the id and another key')
  other.workers.set(identity.workerId, { publicKey: identity.keys.publicKey, name: 'edge' })
  assert.equal((await move()).server, other.origin)
  assert.equal((await findIdentity(dataDir, other.origin))?.workerId, identity.workerId)
  await assert.rejects(findIdentity(dataDir, server.origin), StartRefused)
})
