import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '../platform/config.ts'
import { calibrateCommand } from './calibrate.ts'

test('the line it prints first is a setting that the configuration takes', async () => {
  const { exitCode, lines = [] } = await calibrateCommand({ targetMs: '20', maxMemoryMib: '32' })
  assert.equal(exitCode, 0)
  const [name = '', ...value] = (lines[0] ?? '').split('=')
  const { passwordCost } = parseConfig({ [name]: value.join('=') })
  assert.ok(passwordCost !== null && passwordCost.memoryKib >= 19_456 && passwordCost.memoryKib <= 32 * 1024)
  assert.ok(
    lines.slice(1).every((line) => line.startsWith('# ')),
    'the rest may stand in an env file',
  )
})

test('it says how many hashes run at once and what they take together', async () => {
  const { json } = await calibrateCommand({ targetMs: '10', maxMemoryMib: '19' })
  const { permits, memoryMib } = json as { permits: number; memoryMib: number }
  assert.equal(memoryMib, permits * 19)
})

test('a time or a memory that no server should be given is refused', async () => {
  for (const targetMs of ['0', '9', '2001', '-1', '1e3', 'x'])
    assert.deepEqual(await calibrateCommand({ targetMs }), { exitCode: 1 }, targetMs)
  for (const maxMemoryMib of ['18', '1025', '2g'])
    assert.deepEqual(await calibrateCommand({ maxMemoryMib }), { exitCode: 1 })
})
