// The real process, killed while it records, sequences, signs and ships: nothing is lost, nothing doubled in the log, and the sink has all of it.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { generateSecret } from '../platform/crypto/secret-strength.ts'
import { openReadOnly } from '../platform/db/read-only.ts'
import { verifyDatabase } from './verify-database.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-crash-'))
const started = new Set<ChildProcess>()
after(() => {
  for (const child of started) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})
const sink = join(folder, 'sink.jsonl')
const setupToken = generateSecret()
const account = { username: 'queen', email: 'queen@example.net', password: 'nine amber drones hum at noon' }

async function start(): Promise<{ url: string; kill(): Promise<void> }> {
  const script = `import { serveCommand } from './server/commands/serve.ts'; process.exitCode = await serveCommand([])`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '..', '..'),
    stdio: ['ignore', 'pipe', 'ignore'],
    env: {
      PATH: process.env.PATH,
      HIVESYNC_PORT: '0',
      HIVESYNC_DATA: folder,
      HIVESYNC_SETUP_TOKEN: setupToken,
      HIVESYNC_AUDIT_SINK: `file://${sink}`,
      HIVESYNC_RATE_SCALE: '1000000',
    },
  })
  started.add(child)
  const ended = once(child, 'close').finally(() => started.delete(child))
  const [line] = await once(createInterface({ input: child.stdout }), 'line')
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await ended
  }
  return { url: JSON.parse(String(line)).url, kill }
}

async function post(url: string, body: unknown, token = ''): Promise<Record<string, string>> {
  const headers = { 'content-type': 'application/json', ...(token !== '' && { authorization: `Bearer ${token}` }) }
  const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  assert.ok(reply.ok, `${url}: ${reply.status}`)
  return reply.json() as Promise<Record<string, string>>
}

async function seqsInSink(): Promise<number[]> {
  const lines = (await readFile(sink, 'utf8').catch(() => '')).split('\n')
  return lines.flatMap((line) => /^\{"seq":(\d+),/.exec(line)?.[1] ?? []).map(Number)
}

/** Waits, with a server at work, until every event is a leaf and every leaf is in the sink. */
async function settled(events: number): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (new Set(await seqsInSink()).size >= events) return
    await delay(100)
  }
  assert.fail('the sink never got everything')
}

test('killed three times under load, the log is whole, holds every act that was answered, and so does its sink', async () => {
  let isSetUp = false
  const answered: string[] = []
  for (let round = 0; round < 3; round++) {
    const { url, kill } = await start()
    if (!isSetUp) await post(`${url}/api/v1/setup`, { setupToken, ...account })
    isSetUp = true
    const { accessToken = '' } = await post(`${url}/api/v1/auth/login`, {
      login: account.username,
      password: account.password,
    })
    let isOver = false
    const lane = async (): Promise<void> => {
      for (let n = 0; !isOver; n++) {
        const made = await post(`${url}/api/v1/projects`, { name: `p${n}` }, accessToken).catch(() => undefined)
        if (made?.id !== undefined) answered.push(made.id)
      }
    }
    const lanes = Promise.all([lane(), lane(), lane(), lane()])
    // Not before the sink has something of this run, so that the kill hits it at work.
    const before = new Set(await seqsInSink()).size
    while (new Set(await seqsInSink()).size <= before + 10) await delay(20)
    await kill()
    isOver = true
    await lanes
  }
  const { kill } = await start()
  const database = await openReadOnly(`sqlite:${join(folder, 'hivesync.db')}`)
  const { kysely } = database
  const recorded = await kysely
    .selectFrom('auditEvents')
    .select('targetId')
    .where('action', '=', 'project.created')
    .execute()
  assert.deepEqual(
    answered.filter((id) => !recorded.some(({ targetId }) => targetId === id)),
    [],
  )
  const { count } = await kysely
    .selectFrom('auditEvents')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  await settled(Number(count))
  const { outcome, findings } = await verifyDatabase(kysely)
  assert.deepEqual([outcome, findings], ['ok', []])
  const seqs = await seqsInSink()
  for (let index = 1; index < seqs.length; index++)
    assert.ok((seqs[index] ?? 0) <= (seqs[index - 1] ?? 0) + 1, 'in order, and no gap')
  await database.close()
  await kill()
})
