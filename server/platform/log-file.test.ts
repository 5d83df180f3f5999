import assert from 'node:assert/strict'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { openLogFile } from './log-file.ts'
import { createLogger } from './logger.ts'

function open(t: TestContext, options: { maxBytes?: number; keptFiles?: number } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-log-'))
  const path = join(folder, 'logs', 'server.log')
  const file = openLogFile({ path, maxBytes: options.maxBytes ?? 1_000_000, keptFiles: options.keptFiles ?? 2 })
  t.after(() => {
    file.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const put = (line: string): void => {
    file.write(`${line}\n`)
    file.flush()
  }
  return { folder, path, file, put, read: (suffix = '') => readFileSync(path + suffix, 'utf8') }
}

test('a log file is for this user alone, and goes on where it ended', (t) => {
  const { path, put, read } = open(t)
  put('one')
  assert.equal(statSync(path).mode & 0o777, 0o600)
  const again = openLogFile({ path, maxBytes: 1_000_000, keptFiles: 2 })
  again.write('two\n')
  again.close()
  assert.equal(read(), 'one\ntwo\n')
})

test('one that is full makes room: so many files are kept, and none grows beyond its bound', (t) => {
  const { path, put, read } = open(t, { maxBytes: 10 })
  for (const line of ['first-line', 'second-line', 'third-line', 'fourth-line']) put(line)
  assert.deepEqual([read(), read('.1'), read('.2')], ['fourth-line\n', 'third-line\n', 'second-line\n'])
  assert.ok(!existsSync(`${path}.3`))
})

test('one of which none is kept begins anew', (t) => {
  const { path, put, read } = open(t, { maxBytes: 10, keptFiles: 0 })
  for (const line of ['first-line', 'second-line']) put(line)
  assert.equal(read(), 'second-line\n')
  assert.ok(!existsSync(`${path}.1`))
})

test('one that was moved away is opened anew when asked to; until then its lines go where it went', (t) => {
  const { path, put, file, read } = open(t)
  put('before')
  renameSync(path, `${path}.moved`)
  put('between')
  file.reopen()
  put('after')
  assert.deepEqual([read(), read('.moved')], ['after\n', 'before\nbetween\n'])
})

test('lines that could not be written are counted in the first that can', (t) => {
  const { path, put, read } = open(t, { maxBytes: 5, keptFiles: 1 })
  put('first')
  // In the way of the rotation.
  mkdirSync(`${path}.1`)
  put('lost')
  put('lost too')
  rmdirSync(`${path}.1`)
  put('found')
  assert.equal(read(), '{"level":"warn","event":"log_lines_lost","count":2}\nfound\n')
})

test('a link in its place is refused: lines are never written into a file of somebody else’s choice', (t) => {
  const { folder } = open(t)
  const path = join(folder, 'link.log')
  writeFileSync(join(folder, 'theirs'), '')
  symlinkSync(join(folder, 'theirs'), path)
  assert.throws(() => openLogFile({ path, maxBytes: 10, keptFiles: 1 }), { code: 'ELOOP' })
})

test('a level drops what is below it', () => {
  const lines: string[] = []
  const log = createLogger({ write: (line) => void lines.push(line) }, 'warn')
  log.info({ event: 'a' })
  log.warn({ event: 'b' })
  log.error({ event: 'c' })
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).event),
    ['b', 'c'],
  )
})
