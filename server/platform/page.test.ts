import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from './errors.ts'
import { pageRequest, toPage } from './page.ts'

const id = (row: { id: string }) => row.id
const rows = ['c', 'b', 'a'].map((each) => ({ id: each }))

test('a page has at most its limit, and a cursor only when there is more', () => {
  const page = (limit: number, read = rows) => toPage(read, { limit, after: undefined }, id, id)
  assert.deepEqual(page(2), { items: ['c', 'b'], nextCursor: 'b' })
  assert.deepEqual(page(3), { items: ['c', 'b', 'a'], nextCursor: null })
  assert.deepEqual(page(9), { items: ['c', 'b', 'a'], nextCursor: null })
  assert.deepEqual(page(5, []), { items: [], nextCursor: null })
})

test('a request without a limit is for 50, and a cursor is an id', () => {
  assert.deepEqual(pageRequest({}), { limit: 50, after: undefined })
  const after = '01890000-0000-7000-8000-000000000000'
  assert.deepEqual(pageRequest({ limit: '7', cursor: after }), { limit: 7, after })
  for (const cursor of ['', 'A', "' or 1=1", '../..', 'x'.repeat(65)])
    assert.throws(
      () => pageRequest({ cursor }),
      (error) => error instanceof AppError && error.status === 400,
    )
})
