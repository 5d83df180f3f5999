// Every sensitive operation with every proof that is not for it: generated from the contracts, so that a new one is covered the moment it exists.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import { describeHive, type Hive, type Person } from '../harness/hive.ts'
import { sampleOf } from './sample.ts'

const sensitive = [...operations.values()].filter(({ stepUp }) => stepUp === true)
type Params = Record<string, string>
type Headers = Record<string, string>

/** Ids of nothing: the proof is looked at before anybody looks whether there is such a thing. */
const paramsOf = ({ params }: Endpoint): Params | undefined => params && (sampleOf(params) as Params)
const otherParamsOf = (operation: Endpoint): Params | undefined => {
  const params = paramsOf(operation)
  // Ids end in 0; the one parameter that is none is a plan.
  const others: Readonly<Record<string, string>> = { free: 'pro' }
  return (
    params &&
    Object.fromEntries(Object.entries(params).map(([name, value]) => [name, others[value] ?? value.replace(/0$/, '1')]))
  )
}
const bodyOf = ({ body }: Endpoint) => (body === undefined ? undefined : sampleOf(body))

test('what needs a fresh proof takes nothing that the proof would not cover', () => {
  assert.ok(sensitive.length > 0)
  for (const { name, query, access } of sensitive) {
    assert.equal(query, undefined, name)
    assert.ok(access !== 'public' && access !== 'worker', name)
  }
})

describeHive('a sensitive operation', (open) => {
  let hive: Hive
  let ada: Person
  let again: Person
  let eve: Person
  let other: Endpoint
  let key = ''
  const expired = new Map<string, Headers>()
  const ended = new Map<string, Headers>()

  before(async () => {
    hive = await open()
    // The admin may ask for everything; so what refuses is the proof alone.
    ada = await hive.admin()
    again = await hive.logInAgain('queen')
    const leaving = await hive.logInAgain('queen')
    eve = await hive.person('eve')
    other = sensitive[0] as Endpoint
    const body = { name: 'key', scopes: ['admin' as const] }
    key = (await hive.call(apiKeys.createApiKey, { token: ada.token, body })).body.apiKey
    for (const operation of sensitive) {
      expired.set(operation.name, await prove(ada, operation))
      ended.set(operation.name, await prove(leaving, operation))
    }
    await hive.call(sessions.logOut, { token: leaving.token })
  })

  const prove = (
    person: Person,
    operation: Endpoint,
    act: { params?: unknown; body?: unknown } = { params: paramsOf(operation), body: bodyOf(operation) },
  ): Promise<Headers> => hive.stepUp(person, operation, act as object)

  async function ask(operation: Endpoint, headers: Headers, token = ada.token, params = paramsOf(operation)) {
    const url = operation.path.replace(/:(\w+)/g, (_, name: string) => params?.[name] ?? '')
    const body = bodyOf(operation)
    const json = body === undefined ? {} : { payload: JSON.stringify(body) }
    const type: Headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const authorization = `Bearer ${token}`
    const reply = await hive.inject({
      method: operation.method,
      url,
      ...json,
      headers: { ...type, authorization, ...headers },
    })
    return { status: reply.statusCode, code: reply.statusCode < 400 ? '' : reply.json<{ code: string }>().code }
  }

  /** One test per operation: with these headers the person is asked for a proof, as without any. */
  function refuses(what: string, headersFor: (operation: Endpoint) => Promise<Headers>, only = sensitive): void {
    describe(what, () => {
      for (const operation of only) {
        test(`does not open ${operation.name}`, async () =>
          assert.deepEqual(await ask(operation, await headersFor(operation)), {
            status: 403,
            code: 'step_up_required',
          }))
      }
    })
  }

  refuses('no proof', async () => ({}))
  refuses('a made-up proof', async () => ({ 'step-up': `hso_${'x'.repeat(43)}` }))
  refuses('a malformed proof', async () => ({ 'step-up': "' or 1=1 --" }))
  refuses('a proof for another operation', (operation) =>
    prove(ada, operation === other ? (sensitive[1] as Endpoint) : other, {
      params: paramsOf(operation),
      body: bodyOf(operation),
    }),
  )
  refuses('a proof for another body', (operation) =>
    prove(ada, operation, { params: paramsOf(operation), body: { another: 'body' } }),
  )
  refuses(
    'a proof for another thing',
    (operation) => prove(ada, operation, { params: otherParamsOf(operation), body: bodyOf(operation) }),
    sensitive.filter(({ params }) => params !== undefined),
  )
  refuses('a proof of another session of the same person', (operation) => prove(again, operation))
  refuses('a proof of another person', (operation) => prove(eve, operation))
  refuses('a proof of a session that has ended', async (operation) => ended.get(operation.name) ?? {})
  refuses('a proof that a wrong request has spent', async (operation) => {
    const headers = await prove(ada, operation)
    const taken = await ask(operation, headers, again.token)
    assert.deepEqual(taken, { status: 403, code: 'step_up_required' })
    return headers
  })

  describe('an API key with every scope', () => {
    for (const operation of sensitive) {
      test(`never opens ${operation.name}, with or without a proof of its owner`, async () => {
        const refused = { status: 403, code: 'permission_denied' }
        assert.deepEqual(await ask(operation, {}, key), refused)
        assert.deepEqual(await ask(operation, await prove(ada, operation), key), refused)
      })
    }
  })

  describe('the right proof', () => {
    for (const operation of sensitive) {
      test(`is what ${operation.name} asks for, once`, async () => {
        // A person of this test alone, where the operation lets everybody in: it may do what it says.
        const person = operation.access === 'admin' ? again : await hive.person(`of-${operation.name}`.slice(0, 50))
        const headers = await prove(person, operation)
        const first = await ask(operation, headers, person.token)
        assert.notEqual(first.code, 'step_up_required')
        assert.notEqual(first.code, 'permission_denied')
        const second = await ask(operation, headers, person.token)
        if (second.status !== 401) assert.equal(second.code, 'step_up_required')
      })
    }
  })

  describe('after five minutes', () => {
    before(() => hive.clock.advance(5 * 60_000))
    refuses('a proof', async (operation) => expired.get(operation.name) ?? {})
  })

  test('closes its control plane', async () => {
    await hive[Symbol.asyncDispose]()
  })
})
