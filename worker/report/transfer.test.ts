// Both ends for real: the worker's client against a control plane that listens.
import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { listArtifacts } from '@hivesync/contracts/artifacts.ts'
import { submitJob } from '@hivesync/contracts/jobs.ts'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { generateEncodedKeyPair, importPrivateKey } from '@hivesync/protocol/keys.ts'
import { hostileArchives, tarOf } from '@hivesync/protocol/test-tar.ts'
import { bundleUp, sha256Of } from '../../test/harness/files.ts'
import { describeHive, type Hive } from '../../test/harness/hive.ts'
import { systemClock } from '../clock.ts'
import { createSha256, systemRandom } from '../enrol/random.ts'
import { createLogger } from '../logger.ts'
import { makeTestFolder } from '../test-support/enrolled-client.ts'
import { createTransport } from './http-transport.ts'
import { createServerClient, enrolWorker, type ServerClient } from './server-client.ts'
import { createServerTime } from './server-time.ts'
import { downloadBundle, TransferRefused, uploadArtifacts } from './transfer.ts'

const archive = gzipSync(tarOf({ name: 'main.js', content: 'console.log(1)\n' }))
const lease = () => ({ clock: systemClock, random: systemRandom, signal: new AbortController().signal })
const report = {
  version: '1',
  labels: [],
  kinds: ['compute' as const],
  slots: 1,
  isolation: { level: 'full' as const, layers: [], reason: null },
}

/** A worker's client on a control plane, with one job taken that has a bundle. */
async function openTransfer(test: TestContext, hive: Hive) {
  await hive.app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = hive.app.server.address() as AddressInfo
  const clock = { ...systemClock, nowMs: hive.clock.now }
  const transport = createTransport({ origin: `http://127.0.0.1:${port}`, clock })
  test.after(() => transport.close())
  const { token: admin } = await hive.admin()
  const { enrolmentToken } = (await hive.call(createEnrolment, { token: admin, body: {} })).body
  const pair = generateEncodedKeyPair()
  const { workerId } = await enrolWorker(transport, { enrolmentToken, name: 'drone', publicKey: pair.publicKey })
  const log = createLogger(() => undefined, clock.nowMs)
  const client = createServerClient({
    ...{ transport, identity: { workerId, key: importPrivateKey(pair) }, random: systemRandom, clock },
    time: { ...createServerTime({ clock, log }), observe: () => undefined, signingMs: clock.nowMs },
    onCutOff: () => undefined,
  })
  const ada = await hive.person('ada')
  const projectId = await hive.project(ada)
  const bundle = (await bundleUp(hive, ada, projectId, archive)).body
  const input = { command: ['true'], bundle: bundle.id }
  const submission = { token: ada.token, params: { projectId }, body: { kind: 'compute' as const, input } }
  const job = (await hive.call(submitJob, submission)).body
  const [claim] = (await client.claimJobs({ report, freeSlots: 1, waitSeconds: 0 })).jobs
  const token = claim?.token ?? 0
  await client.startLease(token)
  return { ada, client, job, token, bundle, folder: await makeTestFolder(test) }
}

describeHive(
  'a worker',
  (open) => {
    test('hands over files of any size, which are there with the completion', async (t) => {
      await using hive = await open()
      const { ada, client, job, token, folder } = await openTransfer(t, hive)
      const contents = [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(3_000_000, 'y')]
      const files = await Promise.all(
        contents.map(async (content, i) => {
          const file = join(folder, String(i))
          await writeFile(file, content)
          return { path: `out/${i}`, bytes: content.length, sha256: sha256Of(content), file }
        }),
      )
      await uploadArtifacts(client, token, files, lease())
      await uploadArtifacts(client, token, files, lease())
      await client.completeLease(token, { outcome: 'succeeded' })
      const listed = await hive.call(listArtifacts, { token: ada.token, params: { jobId: job.id } })
      assert.deepEqual(
        listed.body.items.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
        files.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
      )
      const late = uploadArtifacts(client, token, files, lease())
      await assert.rejects(late, { code: 'lease_lost' })
    })

    test('is refused files that changed after they were declared', async (t) => {
      await using hive = await open()
      const { client, token, folder } = await openTransfer(t, hive)
      const file = join(folder, 'changed')
      await writeFile(file, 'changed!')
      const declared = [{ path: 'a', bytes: 8, sha256: sha256Of(Buffer.from('as it was')), file }]
      await assert.rejects(uploadArtifacts(client, token, declared, lease()), { code: 'digest_mismatch' })
    })

    test('fetches the bundle of its job, as it was uploaded', async (t) => {
      await using hive = await open()
      const { client, token, bundle, folder } = await openTransfer(t, hive)
      const file = await downloadBundle(client, token, bundle, { ...lease(), folder, createDigest: createSha256 })
      assert.ok(archive.equals(await readFile(file)))
    })
  },
  { only: 'sqlite' },
)

/** What a server, or whoever stands in its place, answers with to whoever asks for the bundle. */
async function fetchFrom(test: TestContext, content: Buffer, said: Partial<{ bytes: number; sha256: string }> = {}) {
  const server = createServer((_, response) => response.writeHead(200).end(content))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  test.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const transport = createTransport({ origin: `http://127.0.0.1:${port}`, clock: systemClock })
  test.after(() => transport.close())
  const identity = { workerId: 'w', key: importPrivateKey(generateEncodedKeyPair()) }
  const log = createLogger(() => undefined, systemClock.nowMs)
  const time = createServerTime({ clock: systemClock, log })
  const options = { transport, identity, random: systemRandom, clock: systemClock, time, onCutOff: () => undefined }
  const client: ServerClient = createServerClient(options)
  const folder = await makeTestFolder(test)
  const bundle = {
    id: '01890000-0000-7000-8000-000000000000',
    ...{ bytes: content.length, sha256: sha256Of(content), unpackedBytes: 1e8, entries: 1e5, ...said },
  }
  const fetched = downloadBundle(client, 1, bundle, { ...lease(), folder, createDigest: createSha256 })
  return { fetched, leftovers: () => readdir(folder) }
}

test('a worker takes no hostile archive, whatever the server says of it, and keeps nothing of it', async (t) => {
  for (const [what, hostile] of Object.entries(hostileArchives)) {
    const { fetched, leftovers } = await fetchFrom(t, hostile)
    await assert.rejects(fetched, TransferRefused, what)
    assert.deepEqual(await leftovers(), [])
  }
})

test('a worker takes no other bundle than the one that was said', async (t) => {
  const other = gzipSync(tarOf({ name: 'other' }))
  for (const said of [{ sha256: sha256Of(archive) }, { bytes: other.length - 1 }, { bytes: other.length + 1 }, {}]) {
    const { fetched, leftovers } = await fetchFrom(t, other, said)
    await assert.rejects(fetched, TransferRefused)
    assert.deepEqual(await leftovers(), [])
  }
})
