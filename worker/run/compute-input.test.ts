import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InputInvalid, isSafePath, readComputeJob } from './compute-input.ts'
import { computeLimits } from './compute-limits.ts'

const readComputeInput = (input: Record<string, unknown>, more: object = {}) => readComputeJob({ input, ...more })

const command = ['true']

test('an input by the contract is read as it is', () => {
  const input = {
    command: ['sh', '-c', 'cat a/b'],
    files: [{ path: 'a/b', content: 'é' }],
    env: { NAME: 'value' },
    limits: { wallSeconds: 10, memoryMiB: 64 },
  }
  const nothing = { files: [], env: {}, secrets: {}, bundle: undefined, install: false, gpu: false, limits: {} }
  assert.deepEqual(readComputeInput(input), { ...nothing, ...input })
  assert.deepEqual(readComputeInput({ command }), { ...nothing, command })
})

test('paths that lead out, hide something or have two readings are refused', () => {
  const bad = [
    '',
    '/a',
    '../a',
    'a/../b',
    'a/..',
    './a',
    'a/./b',
    'a//b',
    'a/',
    'a\\b',
    'a\0b',
    'a\nb',
    '..',
    '.',
    '\ud800',
  ]
  for (const path of [...bad, 'a'.repeat(401)]) {
    assert.ok(!isSafePath(path), JSON.stringify(path))
    assert.throws(() => readComputeInput({ command, files: [{ path, content: '' }] }), InputInvalid)
  }
  for (const path of ['a', '.env', 'a/b', '-rf', '...', 'a b', 'é/ü', '..a/b..']) assert.ok(isSafePath(path), path)
})

test('two files in one place, a file where another needs a folder, and one named out are refused', () => {
  for (const paths of [['a', 'a'], ['a', 'a/b'], ['a/b/c', 'a/b'], ['out']]) {
    const files = paths.map((path) => ({ path, content: '' }))
    assert.throws(() => readComputeInput({ command, files }), InputInvalid, paths.join())
  }
  const files = ['out/a', 'a/b', 'a/c'].map((path) => ({ path, content: '' }))
  assert.equal(readComputeInput({ command, files }).files?.length, 3)
})

test('everything else outside the contract is refused', () => {
  const wrong = [
    {},
    { command: [] },
    { command: 'true' },
    { command: [1] },
    { command: ['a\0b'] },
    { command: Array.from({ length: 200 }, () => 'x'.repeat(8192)) }, // execve would refuse it
    { command, extra: 1 },
    { command, env: { 'A=B': '' } },
    { command, env: { A: 1 } },
    { command, env: [] },
    { command, limits: { memoryMiB: 1 } },
    { command, limits: { memoryMiB: 100_000 } },
    { command, limits: { wallSeconds: 1.5 } },
    { command, limits: { disk: 1 } },
    { command, files: Array.from({ length: 101 }, (_, index) => ({ path: `f${index}`, content: '' })) },
    { command, files: [{ path: 'a', content: 'x'.repeat(262_145) }] },
  ]
  for (const input of wrong)
    assert.throws(() => readComputeInput(input), InputInvalid, JSON.stringify(input).slice(0, 80))
})

test('what a job does not ask for has a default', () => {
  const mebibyte = 1024 * 1024
  const limits = computeLimits()
  assert.deepEqual(
    [limits.wallMs, limits.cpuSeconds, limits.memoryBytes, limits.diskBytes, limits.outputBytes],
    [300_000, 300, 512 * mebibyte, 256 * mebibyte, 4 * mebibyte],
  )
  assert.equal(computeLimits({ outputKiB: 1 }).outputBytes, 1024)
})

const bundle = {
  id: '01890000-0000-7000-8000-000000000001',
  bytes: 10,
  unpackedBytes: 20,
  entries: 1,
  sha256: 'a'.repeat(64),
}

test('bundle, secrets, install and gpu are read with what the claim brings for them', () => {
  const input = { command, bundle: bundle.id, secretNames: ['TOKEN'], install: { manager: 'npm' }, gpu: true }
  const job = readComputeInput(input, { bundle, secrets: { TOKEN: 'v\0al' } })
  assert.deepEqual([job.bundle, job.install, job.gpu], [bundle, true, true])
  assert.deepEqual(Object.entries(job.secrets), [['TOKEN', Buffer.from('v\0al')]])
})

test('a claim whose parts do not fit its input, or that could name files of the worker, is refused', () => {
  const cases: [Record<string, unknown>, object][] = [
    [{ bundle: bundle.id }, {}],
    [{}, { bundle }],
    [{ bundle: 'another' }, { bundle }],
    [{ bundle: '../../etc' }, { bundle: { ...bundle, id: '../../etc' } }],
    [{ bundle: bundle.id }, { bundle: { ...bundle, bytes: -1 } }],
    [{ bundle: bundle.id }, { bundle: { ...bundle, sha256: 'x' } }],
    [{ secretNames: ['A'] }, {}],
    [{}, { secrets: { A: 'x' } }],
    [{ secretNames: ['A', 'A'] }, { secrets: { A: 'x' } }],
    [{ secretNames: ['../A'] }, { secrets: { '../A': 'x' } }],
    [{ secretNames: ['A'] }, { secrets: { A: 1 } }],
    [{ secretNames: { A: 1 } }, { secrets: { A: 'x' } }],
    [{ secretNames: ['A'] }, { secrets: { A: 'x'.repeat(8193) } }],
    [{ install: true }, {}],
    [{ install: { manager: 'yarn' } }, {}],
    [{ install: { manager: 'npm', flags: [] } }, {}],
    [{ gpu: 1 }, {}],
  ]
  for (const [input, more] of cases)
    assert.throws(() => readComputeInput({ command, ...input }, more), InputInvalid, JSON.stringify([input, more]))
})
