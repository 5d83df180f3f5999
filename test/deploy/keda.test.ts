// There is no cluster here. What can be shown without one: that the files say what the product understands, and that the
// server answers what KEDA's metrics-api scaler asks (https://keda.sh/docs/latest/scalers/metrics-api/).
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import * as keys from '@hivesync/contracts/api-keys.ts'
import { getQueueLoad, QueueLoad } from '@hivesync/contracts/scaling.ts'
import { createEnrolment } from '@hivesync/contracts/workers.ts'
import { parseWorkerConfig, type WorkerConfig } from '../../worker/config.ts'
import { claim, enrolFleetWorker } from '../harness/fleet-worker.ts'
import { describeHive } from '../harness/hive.ts'
import { submitted } from '../harness/jobs.ts'

// Has no types of its own.
const { loadAll } = createRequire(import.meta.url)('js-yaml') as { loadAll(text: string): unknown[] }
const root = join(import.meta.dirname, '..', '..')
const read = (name: string) => loadAll(readFileSync(join(root, 'deploy', 'keda', name), 'utf8')) as Manifest[]

interface Manifest {
  kind: string
  metadata: { name: string; namespace: string }
  stringData?: Record<string, string>
  spec: { secretTargetRef: { parameter: string; name: string; key: string }[] } & ScaledJob
}
interface ScaledJob {
  rollout: { strategy: string }
  scalingStrategy: { strategy: string }
  triggers: { type: string; metadata: Record<string, string>; authenticationRef: { name: string } }[]
  jobTargetRef: { backoffLimit: number; activeDeadlineSeconds?: number; template: { spec: Pod } }
}
interface Pod {
  restartPolicy: string
  terminationGracePeriodSeconds: number
  automountServiceAccountToken: boolean
  enableServiceLinks: boolean
  hostUsers: boolean
  hostNetwork?: boolean
  hostPID?: boolean
  securityContext: { runAsNonRoot: boolean; fsGroup: number }
  containers: Container[]
  volumes: { name: string; secret?: { secretName: string; defaultMode: number } }[]
}
interface Container {
  command: string[]
  env: { name: string; value: string }[]
  securityContext: {
    privileged?: boolean
    allowPrivilegeEscalation: boolean
    procMount: string
    capabilities: { drop: string[]; add?: string[] }
  }
  volumeMounts: { name: string; mountPath: string }[]
}

const manifests = read('scaled-job.yaml')
const find = (kind: string): Manifest => {
  const found = manifests.find((each) => each.kind === kind)
  assert.ok(found, kind)
  return found
}
const { spec } = find('ScaledJob')
const pod = spec.jobTargetRef.template.spec
const [container] = pod.containers
const [trigger] = spec.triggers
assert.ok(container && trigger)

/** The worker's configuration as it comes out of the manifest, the token in a file with the mode that the volume gives it. */
function configOf(t: TestContext): WorkerConfig {
  assert.ok(container)
  const env = Object.fromEntries(container.env.map(({ name, value }) => [name, value]))
  const tokenFile = env.HIVESYNC_WORKER_TOKEN_FILE ?? ''
  const mount = container.volumeMounts.find(({ mountPath }) => tokenFile.startsWith(`${mountPath}/`))
  const volume = pod.volumes.find(({ name }) => name === mount?.name)
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-keda-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const copy = join(folder, 'token')
  writeFileSync(copy, 'hse_token')
  chmodSync(copy, volume?.secret?.defaultMode ?? 0o644)
  return parseWorkerConfig({ ...env, HIVESYNC_WORKER_TOKEN_FILE: copy })
}

test('the worker understands every setting of the pod, and has time to drain before it is killed', (t) => {
  const config = configOf(t)
  assert.equal(config.enrolmentToken, 'hse_token')
  assert.ok(config.exitWhenIdleMs !== null && config.exitWhenIdleMs >= 60_000, 'longer than it takes to start')
  // Drained jobs, then 5 s for the last results and 5 s for the sign-off.
  assert.ok(pod.terminationGracePeriodSeconds * 1000 >= config.drainMs + 30_000)
  const mount = container.volumeMounts.find(({ mountPath }) => config.dataDir.startsWith(`${mountPath}/`))
  assert.ok(mount, 'a folder in a volume, not the volume, which the worker may not make private')
  assert.deepEqual(container.command, ['/opt/hivesync/bin/hivesync', 'worker', 'start'])
})

test('the trigger reads a number of the contract, of the pool of the workers, and counts as many slots as one has', (t) => {
  const config = configOf(t)
  const { url = '', valueLocation = '', targetValue, authMode, format } = trigger.metadata
  const { origin, pathname, searchParams } = new URL(url)
  assert.deepEqual([origin, pathname], [config.server, getQueueLoad.path])
  assert.deepEqual([...searchParams.entries()], [['pool', config.pool]])
  const properties: Record<string, { type: string }> = QueueLoad.properties
  assert.equal(properties[valueLocation]?.type, 'integer')
  assert.deepEqual([Number(targetValue), authMode, format], [config.slots, 'bearer', 'json'])
  assert.deepEqual([trigger.type, getQueueLoad.method, getQueueLoad.access], ['metrics-api', 'GET', 'metrics'])
})

test('each secret that is named is in the example, which holds no value', () => {
  const secrets = read('secrets.example.yaml')
  const authentication = find('TriggerAuthentication')
  assert.equal(trigger.authenticationRef.name, authentication.metadata.name)
  const named = authentication.spec.secretTargetRef.map(({ parameter, name, key }) => {
    assert.equal(parameter, 'token')
    return `${name}/${key}`
  })
  for (const { secret } of pod.volumes) if (secret !== undefined) named.push(`${secret.secretName}/token`)
  const given = secrets.flatMap(({ metadata, stringData = {} }) => {
    assert.deepEqual(Object.values(stringData), [''])
    return Object.keys(stringData).map((key) => `${metadata.name}/${key}`)
  })
  assert.deepEqual(named.sort(), given.sort())
  const places = new Set([...secrets, ...manifests].map(({ metadata }) => metadata.namespace))
  assert.equal(places.size, 1)
})

test('nothing ends a worker that runs a job', () => {
  assert.deepEqual([spec.rollout.strategy, spec.scalingStrategy.strategy], ['gradual', 'default'])
  const { activeDeadlineSeconds, backoffLimit } = spec.jobTargetRef
  assert.deepEqual([activeDeadlineSeconds, backoffLimit, pod.restartPolicy], [undefined, 0, 'Never'])
})

test('the pod has no privilege of the node, and what the sandbox needs', () => {
  const { privileged, allowPrivilegeEscalation, capabilities, procMount } = container.securityContext
  assert.deepEqual([privileged, allowPrivilegeEscalation, capabilities], [undefined, false, { drop: ['ALL'] }])
  assert.deepEqual([pod.hostUsers, procMount, pod.securityContext.runAsNonRoot], [false, 'Unmasked', true])
  assert.deepEqual([pod.hostNetwork, pod.hostPID, pod.automountServiceAccountToken], [undefined, undefined, false])
  assert.equal(pod.enableServiceLinks, false, 'variables of services would be settings that the worker does not know')
})

describeHive('the load that KEDA reads', (open) => {
  test('is 0 without work, counts what waits for workers yet to come and what runs, and is for the scope metrics', async () => {
    await using hive = await open()
    const [admin, ada] = [await hive.admin(), await hive.person('ada')]
    const projectId = await hive.project(ada)
    const create = async (scopes: ['metrics'] | ['read']) =>
      (await hive.call(keys.createApiKey, { token: admin.token, body: { name: 'keda', scopes } })).body.apiKey
    const { pathname, search, searchParams } = new URL(trigger.metadata.url ?? '')
    const pool = searchParams.get('pool') ?? ''
    const ask = (apiKey: string) =>
      hive.inject({ url: `${pathname}${search}`, headers: { authorization: `Bearer ${apiKey}` } })
    const key = await create(['metrics'])
    const value = async () => {
      const reply = await ask(key)
      assert.equal(reply.statusCode, 200)
      return reply.json()[trigger.metadata.valueLocation ?? '']
    }
    assert.equal(await value(), 0)
    await submitted(hive, ada, projectId, { pool })
    assert.equal(await value(), 1)
    const body = { maxUses: 2, ephemeral: true, pool }
    const { enrolmentToken } = (await hive.call(createEnrolment, { token: admin.token, body })).body
    const worker = await enrolFleetWorker(hive, enrolmentToken)
    assert.equal((await claim(worker)).jobs.length, 1)
    assert.equal(await value(), 1)
    assert.equal((await ask(await create(['read']))).statusCode, 403)
  })
})
