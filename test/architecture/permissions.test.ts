import assert from 'node:assert/strict'
import { test } from 'node:test'
import { operations } from '@hivesync/contracts/operations.ts'
import { permissionsPage } from './permissions-page.ts'
import { readText } from './source-tree.ts'

test('the page of permissions says what the contracts say', () => {
  assert.equal(readText('docs/permissions.md'), permissionsPage())
})

test('what needs a fresh proof is for signed-in people, and nothing of it is in a query', () => {
  for (const operation of operations.values()) {
    if (!operation.stepUp) continue
    assert.ok(operation.access !== 'public' && operation.access !== 'worker', operation.name)
    // The proof is bound to parameters and body: what stood in a query would not be covered.
    assert.equal(operation.query, undefined, operation.name)
  }
})
