import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeSecretFile } from './worker-user.ts'

test('a secret is written for one user alone, and a link the worker left under its name is not followed', (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-worker-user-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const victim = join(folder, 'victim')
  const path = join(folder, 'enrolment-token')
  writeFileSync(victim, 'root’s own', { mode: 0o644 })
  symlinkSync(victim, path)
  const isRoot = process.getuid?.() === 0
  for (const secret of ['first', 'second']) writeSecretFile(path, secret, isRoot ? 61_000 : undefined)
  assert.equal(readFileSync(victim, 'utf8'), 'root’s own')
  assert.equal(statSync(victim).uid, process.getuid?.())
  assert.equal(readFileSync(path, 'utf8'), 'second\n')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  if (isRoot) assert.equal(statSync(path).uid, 61_000)
})
