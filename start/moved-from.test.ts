import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { movedFrom } from './moved-from.ts'

test('a worker is told of a move only from one port of this machine to another', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-moved-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'identity.json')
  const after = (server: unknown, url: string) => {
    writeFileSync(file, JSON.stringify({ server }))
    return movedFrom(file, url).HIVESYNC_WORKER_MOVED_FROM
  }
  assert.equal(after('http://127.0.0.1:7070', 'http://127.0.0.1:7080/'), 'http://127.0.0.1:7070')
  assert.equal(after('http://localhost:7070', 'http://127.0.0.1:7080'), 'http://localhost:7070')
  for (const [server, url] of [
    ['http://127.0.0.1:7070', 'http://127.0.0.1:7070'],
    ['https://hive.example.net', 'http://127.0.0.1:7070'],
    ['http://127.0.0.1:7070', 'https://hive.example.net'],
    ['http://127.0.0.1.example.net', 'http://127.0.0.1:7070'],
    [7070, 'http://127.0.0.1:7070'],
    [undefined, 'http://127.0.0.1:7070'],
  ] as const)
    assert.equal(after(server, url), undefined, String(server))
  writeFileSync(file, '{"server":')
  assert.deepEqual(movedFrom(file, 'http://127.0.0.1:7070'), {})
  assert.deepEqual(movedFrom(join(folder, 'none'), 'http://127.0.0.1:7070'), {})
})
