import assert from 'node:assert/strict'
import { test } from 'node:test'
import { secureRandomBytes } from './hash.ts'
import { createUuidv7 } from './uuidv7.ts'

const shape = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

function timeOf(id: string): number {
  return Number.parseInt(id.replace('-', '').slice(0, 12), 16)
}

test('ids have version 7, the RFC 9562 variant and the time of the clock', () => {
  const id = createUuidv7(() => 0x017f22e279b0, secureRandomBytes)()
  assert.match(id, shape)
  assert.ok(id.startsWith('017f22e2-79b0-7'))
})

test('ids grow within one millisecond, past 4,096 of them, and when the clock goes back', () => {
  let now = 1_900_000_000_000
  const newId = createUuidv7(() => now, secureRandomBytes)
  const ids = Array.from({ length: 10_000 }, newId)
  now -= 60_000
  ids.push(...Array.from({ length: 10_000 }, newId))
  now += 120_000
  ids.push(newId())
  const fallen = ids.findIndex((id, index) => index > 0 && id <= (ids[index - 1] ?? ''))
  assert.equal(fallen, -1, `${ids[fallen]} comes after ${ids[fallen - 1]}`)
  assert.ok(ids.every((id) => shape.test(id)))
  assert.equal(timeOf(ids.at(-1) ?? ''), now)
})

test('all bits but time, version, variant and counter come from the random source', () => {
  const ones = createUuidv7(
    () => 1,
    (count) => Buffer.alloc(count, 0xff),
  )()
  assert.equal(ones, '00000000-0001-77ff-bfff-ffffffffffff')
})
