// The machine is lost; what is left is the last backup and the secret, kept elsewhere.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import type { Job } from '@hivesync/contracts/jobs.ts'
import { type Installation, install, setUp } from './installation.ts'

const bin = join(import.meta.dirname, '..', '..', 'bin', 'hivesync.ts')
const environmentOf = (hive: Installation) => ({
  PATH: process.env.PATH,
  HIVESYNC_DATA: hive.dataDir,
  HIVESYNC_CLI_HOME: join(hive.folder, 'cli'),
})
const operator = (hive: Installation, ...args: string[]) =>
  promisify(execFile)(process.execPath, [bin, ...args], { cwd: hive.folder, env: environmentOf(hive) })

async function logIn(hive: Installation): Promise<number> {
  const args = [bin, 'login', '--server', hive.url, '--login', 'queen', '--password-stdin']
  const child = spawn(process.execPath, args, { env: environmentOf(hive), stdio: ['pipe', 'ignore', 'inherit'] })
  child.stdin.end('nine amber drones hum at noon\n')
  const [code] = await once(child, 'exit')
  return code
}

test('a server that was lost lives on from its backup: people, jobs and their files', async () => {
  await using hive = await install()
  await setUp(hive)
  await hive.line((line) => line.includes('"worker_ready"'))
  const ran = await hive.cli('run', '--', 'sh', '-c', 'echo golden > "$HOME/honey.txt"; echo done')
  assert.equal(ran.code, 0, ran.stderr)
  const before = await hive.json<{ items: Job[] }>('job', 'ls')

  const backup = join(hive.folder, 'backup')
  await operator(hive, 'backup', backup)
  await operator(hive, 'backup', '--verify', backup)
  await copyFile(join(hive.dataDir, 'secret'), join(hive.folder, 'secret'))

  await hive.stop()
  await rm(hive.dataDir, { recursive: true })
  await assert.rejects(operator(hive, 'restore', backup), /There is no secret/)
  await mkdir(hive.dataDir, { recursive: true, mode: 0o711 })
  await copyFile(join(hive.folder, 'secret'), join(hive.dataDir, 'secret'))
  await operator(hive, 'restore', backup)

  await hive.start()
  assert.notEqual((await hive.cli('job', 'ls')).code, 0, 'the session of before has ended')
  assert.equal(await logIn(hive), 0)
  assert.deepEqual((await hive.json<{ items: Job[] }>('job', 'ls')).items, before.items)
  const [first] = before.items
  const logs = await hive.cli('job', 'logs', first?.id ?? '')
  assert.match(logs.stdout, /done/)
  await hive.line((line) => line.includes('"worker_ready"'))
  const again = await hive.cli('run', '--', 'echo', 'again')
  assert.deepEqual([again.code, again.stdout], [0, 'again\n'], again.stderr)
})
