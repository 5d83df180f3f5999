import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { MirrorBusy, withMirrorLock } from './mirror-lock.ts'
import { makeFolder } from './test-support/git-repository.ts'

test('jobs of one process take turns, in order, and a failed one does not stop the next', async () => {
  await using folder = await makeFolder()
  const lock = join(folder.path, 'p.lock')
  const log: string[] = []
  let running = 0
  const job = (name: string, fail = false) =>
    withMirrorLock(lock, undefined, async () => {
      running += 1
      assert.equal(running, 1)
      log.push(name)
      await readdir(folder.path)
      running -= 1
      if (fail) throw new Error(name)
      return name
    })
  const results = await Promise.allSettled([job('a'), job('b', true), job('c')])
  assert.deepEqual(log, ['a', 'b', 'c'])
  assert.deepEqual(
    results.map((result) => result.status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(await readdir(folder.path), [])
})

test('the lock of another live process is respected', async (t) => {
  await using folder = await makeFolder()
  const lock = join(folder.path, 'p.lock')
  const other = spawn('cat', { stdio: ['pipe', 'ignore', 'ignore'] })
  await once(other, 'spawn')
  t.after(() => other.kill())
  const started = (await readFile(`/proc/${other.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ')[19]
  await writeFile(lock, `${other.pid} ${started}\n`)
  await assert.rejects(
    withMirrorLock(lock, undefined, async () => assert.fail('ran')),
    MirrorBusy,
  )
  const exited = once(other, 'exit')
  other.kill()
  await exited
  assert.equal(await withMirrorLock(lock, undefined, async () => 'taken over'), 'taken over')
  assert.deepEqual(await readdir(folder.path), [])
})

test('a lock whose process is gone, whose pid was given away, or that is garbage is taken over', async () => {
  await using folder = await makeFolder()
  const lock = join(folder.path, 'p.lock')
  for (const text of ['4194999 12345\n', `${process.ppid} 1\n`, 'garbage', '']) {
    await writeFile(lock, text)
    assert.equal(await withMirrorLock(lock, undefined, async () => 'ok'), 'ok', text)
  }
})

test('an abort while waiting in line is thrown without running the work', async () => {
  await using folder = await makeFolder()
  const lock = join(folder.path, 'p.lock')
  const abort = new AbortController()
  const first = withMirrorLock(lock, undefined, async () => abort.abort(new Error('canceled')))
  const second = withMirrorLock(lock, abort.signal, async () => assert.fail('ran'))
  await first
  await assert.rejects(second, /canceled/)
})
