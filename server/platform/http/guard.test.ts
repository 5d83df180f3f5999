import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Access, permissions } from '@hivesync/contracts/access.ts'
import { getHealth } from '@hivesync/contracts/service.ts'
import { type Identity, nobody, system } from '../actor.ts'
import { AppError } from '../errors.ts'
import { createMemoryWindows } from '../limits/memory-windows.ts'
import { createGuard } from './guard.ts'
import { createRateLimits } from './rate-limits.ts'

const guard = createGuard(
  { bearer: () => nobody, worker: async () => nobody, stepUp: async () => {} },
  createRateLimits(
    1,
    createMemoryWindows(() => 0),
  ),
)

function admits(access: Access, identity: Identity): boolean {
  try {
    guard.authorise({ ...getHealth, access }, identity)
    return true
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'permission_denied')
    return false
  }
}

const everything = new Set(permissions)
const identities = {
  nobody,
  person: { ...nobody, kind: 'user', id: 'u', userId: 'u', sessionId: 's', permissions: everything },
  admin: { ...nobody, kind: 'user', id: 'a', userId: 'a', sessionId: 's', permissions: everything, isAdmin: true },
  key: { ...nobody, kind: 'key', id: 'k', userId: 'u', permissions: everything },
  adminKey: { ...nobody, kind: 'key', id: 'k', userId: 'a', permissions: everything, isAdmin: true },
  readingKey: { ...nobody, kind: 'key', id: 'k', userId: 'u', permissions: new Set(['jobs:read']) },
  worker: { ...nobody, kind: 'worker', id: 'w' },
  system,
} as const satisfies Record<string, Identity>

test('each access admits exactly whom it names', () => {
  const wanted: Partial<Record<Access, (keyof typeof identities)[]>> = {
    public: Object.keys(identities) as (keyof typeof identities)[],
    session: ['person', 'admin'],
    admin: ['admin', 'adminKey'],
    worker: ['worker'],
    'jobs:read': ['person', 'admin', 'key', 'adminKey', 'readingKey'],
    'jobs:write': ['person', 'admin', 'key', 'adminKey'],
  }
  for (const [access, admitted] of Object.entries(wanted) as [Access, string[]][]) {
    for (const [name, identity] of Object.entries(identities)) {
      assert.equal(admits(access, identity), admitted.includes(name), `${access} ${name}`)
    }
  }
})

test('what needs a fresh proof of the person is refused to every key, whatever it may do', () => {
  for (const access of ['jobs:write', 'admin', 'session'] as const) {
    const admitted = (identity: Identity) => {
      try {
        guard.authorise({ ...getHealth, access, stepUp: true }, identity)
        return true
      } catch (error) {
        assert.ok(error instanceof AppError && error.code === 'permission_denied')
        return false
      }
    }
    assert.ok(admitted(identities.admin))
    for (const name of ['key', 'adminKey', 'readingKey'] as const) assert.ok(!admitted(identities[name]), name)
  }
})

test('an actor carries the network part of its address alone, and the trace of its client', () => {
  const request = (headers: Record<string, string>) =>
    ({ id: 'request-1', ip: '203.0.113.77', headers }) as Parameters<typeof guard.actor>[1]
  const actor = { ...identities.person, requestId: 'request-1', ip: '203.0.113.0/24' }
  assert.deepEqual(guard.actor(identities.person, request({})), actor)
  assert.deepEqual(guard.actor(identities.person, request({ traceparent: 'forged' })), actor)
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
  assert.deepEqual(guard.actor(identities.person, request({ traceparent })), { ...actor, traceParent: traceparent })
})
