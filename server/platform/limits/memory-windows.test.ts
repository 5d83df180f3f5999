import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createMemoryWindows } from './memory-windows.ts'
import type { WindowRule } from './windows.ts'

const rule = (name: string, subject: string, limit = 3): WindowRule => ({ name, subject, limit, windowMs: 1000 })

function open(maxKeys?: number) {
  let now = 1_000_000
  const windows = createMemoryWindows(() => now, maxKeys)
  return {
    windows,
    hit: windows.hit,
    advance: (ms: number) => {
      now += ms
    },
  }
}

test('a request that one window refuses is counted in none', () => {
  const { hit } = open()
  const [tight, wide] = [rule('tight', 'ada', 1), rule('wide', 'ada', 5)]
  assert.deepEqual(
    hit([tight, wide]).map(({ remaining }) => remaining),
    [0, 4],
  )
  for (let i = 0; i < 20; i++) {
    const [refused, spared] = hit([tight, wide])
    assert.deepEqual([refused?.allowed, spared?.allowed, spared?.remaining], [false, true, 4])
  }
  assert.deepEqual(
    hit([wide]).map(({ remaining }) => remaining),
    [3],
  )
})

test('when all places are taken, who is there already stays, and newcomers share one window', () => {
  const { hit } = open(100)
  for (let i = 0; i < 100; i++) hit([rule('auth', `old ${i}`)])
  let newcomers = 0
  for (let i = 0; i < 1000; i++) if (hit([rule('auth', `new ${i}`)])[0]?.allowed) newcomers++
  assert.equal(newcomers, 3)
  for (let i = 0; i < 100; i++) assert.equal(hit([rule('auth', `old ${i}`)])[0]?.remaining, 1)
})

test('places of those who have left are given to newcomers', () => {
  const { hit, advance } = open(10)
  for (let i = 0; i < 10; i++) hit([rule('auth', `old ${i}`)])
  advance(1000)
  for (let i = 0; i < 10; i++) assert.equal(hit([rule('auth', `new ${i}`)])[0]?.remaining, 2)
})
