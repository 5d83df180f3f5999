import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorCatalog } from '@hivesync/contracts/errors.ts'
import { AppError, toProblem } from './errors.ts'

test('a problem holds the catalog’s words and what is meant for the client, never the details', () => {
  const error = new AppError('queue_full', { secret: 'hunter2' }, { detail: 'Try later', fields: [] })
  assert.equal(error.status, 429)
  assert.deepEqual(toProblem(error.code, 'r-1', error.options), {
    type: 'urn:hivesync:error:queue_full',
    title: 'The queue is full',
    status: 429,
    code: 'queue_full',
    requestId: 'r-1',
    detail: 'Try later',
    fields: [],
  })
})

test('every code of the catalog is snake_case with a refusing status and a sentence of its own', () => {
  const titles = new Set<string>()
  for (const [code, [status, title]] of Object.entries(errorCatalog)) {
    assert.match(code, /^[a-z]+(_[a-z]+)*$/)
    assert.ok(status >= 400 && status < 600, code)
    assert.match(title, /^[A-Z][^.]+$/, code)
    titles.add(title)
  }
  assert.equal(titles.size, Object.keys(errorCatalog).length)
})
