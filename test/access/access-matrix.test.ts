// Every operation asked by everybody who may not: generated from the contracts, so that a new operation is covered the moment it exists.
import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { type Permission, permissions, type Scope } from '@hivesync/contracts/access.ts'
import * as apiKeys from '@hivesync/contracts/api-keys.ts'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import { operations } from '@hivesync/contracts/operations.ts'
import * as sessions from '@hivesync/contracts/sessions.ts'
import type { Problem } from '@hivesync/contracts/values.ts'
import { codesOf } from '../../server/platform/http/openapi.ts'
import { describeHive, type Hive, type Person, type TestWorker } from '../harness/hive.ts'
import { sampleOf } from './sample.ts'
import { createThings, type Things } from './things.ts'

const all = [...operations.values()]
const isPermission = (access: Endpoint['access']): access is Permission => permissions.some((each) => each === access)
const parametersOf = ({ params }: Endpoint): string[] => Object.keys(params?.properties ?? {})

test('these operations and no others are open to everybody', () => {
  const open = all.filter(({ access }) => access === 'public').map(({ name }) => name)
  assert.deepEqual(open.sort(), [
    'completeMfa',
    'confirmEmailChange',
    'confirmRegistration',
    'enrolWorker',
    'finishExternalLogin',
    'getAccountPage',
    'getAccountPageScript',
    'getAccountScript',
    'getAccountStyle',
    'getArtifactContent',
    'getDevicePage',
    'getExternalPage',
    'getExternalProvider',
    'getHealth',
    'getInvitationPage',
    'getKeySet',
    'getLanding',
    'getOpenApi',
    'getPasskeysPage',
    'getReadiness',
    'getSetupPage',
    'getSetupScript',
    'getSetupStyle',
    'getWebhookKeys',
    'headArtifactContent',
    'listWebhookEvents',
    'logIn',
    'logInWithPasskey',
    'pollDeviceLogin',
    'refresh',
    'register',
    'requestPasswordReset',
    'resetPassword',
    'setUp',
    'startDeviceLogin',
    'startExternalLogin',
    'startMfaPasskey',
    'startPasskeyLogin',
    'verifyEmail',
  ])
})

const isReading = (method: string) => method === 'GET' || method === 'HEAD'

test('what needs no proof is limited like a login, or changes nothing', () => {
  const patient = new Set(['pollDeviceLogin', 'refresh'])
  const ending = new Set(['logOut', 'revokeSession', 'revokeOtherSessions'])
  for (const { name, access, limit, method } of all) {
    // Who polls is told the pace by the reply: `slow_down` (RFC 8628 §3.5). Who refreshes has what nobody can guess, from an address of many.
    if (access === 'public') assert.ok(limit === 'auth' || isReading(method) || patient.has(name), name)
    else if (access === 'worker') assert.equal(limit, 'worker', name)
    // A window of its own for what tries credentials, and for what only admins do.
    // Whoever stole a session keeps nobody from ending it.
    else if (ending.has(name)) assert.equal(limit, 'session', name)
    else if (limit !== 'auth' && (limit !== 'admin' || (access !== 'admin' && access !== 'metrics')))
      assert.equal(limit, isReading(method) ? 'read' : 'write', name)
  }
})

interface Ask {
  token?: string
  headers?: Record<string, string>
}

async function ask(hive: Hive, things: Things, operation: Endpoint, { token, headers }: Ask) {
  const url = operation.path.replace(/:(\w+)/g, (_, name: string) => {
    const id = things[name]
    assert.ok(id, `${operation.name}: the matrix knows no ${name}`)
    return id
  })
  const body = operation.body === undefined ? {} : { payload: JSON.stringify(sampleOf(operation.body)) }
  const required = operation.query?.required ?? []
  const query = required.length === 0 ? '' : `?${required.map((name) => `${name}=abcd`).join('&')}`
  const reply = await hive.inject({
    method: operation.method,
    url: url + query,
    ...body,
    headers: {
      ...(operation.body !== undefined && { 'content-type': 'application/json' }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...headers,
    },
  })
  return reply
}

type Reply = Awaited<ReturnType<typeof ask>>

function requireRefused(operation: Endpoint, reply: Reply, status: number, code: string | RegExp): void {
  assert.equal(reply.statusCode, status, reply.body)
  const problem = reply.json<Problem>()
  if (typeof code === 'string') assert.equal(problem.code, code)
  else assert.match(problem.code, code)
  assert.ok(
    [...codesOf(operation)].some((each) => each === problem.code),
    `${problem.code} is not documented`,
  )
  if (status === 401) assert.match(String(reply.headers['www-authenticate']), /^Bearer /)
}

/** One test per operation that the actor must not use. */
function refuses(
  who: string,
  applies: (operation: Endpoint) => boolean,
  send: (operation: Endpoint) => Promise<Reply>,
  status: number,
  code: string | RegExp,
): void {
  describe(who, () => {
    for (const operation of all.filter(applies)) {
      test(`is refused ${operation.name} with ${status}`, async () =>
        requireRefused(operation, await send(operation), status, code))
    }
  })
}

describeHive('access', (open) => {
  let hive: Hive
  let ada: Person
  let eve: Person
  let admin: Person
  let drone: TestWorker
  let things: Things

  before(async () => {
    hive = await open()
    admin = await hive.admin()
    ada = await hive.person('ada')
    eve = await hive.person('eve')
    drone = await hive.worker()
    things = { ...(await createThings(hive, ada, drone)), apiKeyId: (await newKey(ada, ['read'])).id }
  })

  async function newKey(owner: Person, scopes: Scope[], projectId?: string) {
    const reply = await hive.call(apiKeys.createApiKey, {
      token: owner.token,
      body: { name: 'key', scopes, projectId },
    })
    return reply.body
  }
  /** The fresh proof that a sensitive operation asks for, so that what refuses is what comes after it. */
  async function proofFor(person: Person, operation: Endpoint): Promise<Record<string, string>> {
    if (operation.stepUp !== true) return {}
    const params = Object.fromEntries(parametersOf(operation).map((name) => [name, things[name] ?? '']))
    const body = operation.body === undefined ? {} : { body: sampleOf(operation.body) }
    return hive.stepUp(person, operation, { params, ...body } as object)
  }
  const asking = (who: (operation: Endpoint) => Ask | Promise<Ask>) => async (operation: Endpoint) =>
    ask(hive, things, operation, await who(operation))
  const needsBearer = ({ access }: Endpoint) => access !== 'public' && access !== 'worker'
  const needsWorker = ({ access }: Endpoint) => access === 'worker'

  refuses(
    'nobody',
    needsBearer,
    asking(() => ({})),
    401,
    'authentication_required',
  )
  refuses(
    'nobody',
    needsWorker,
    asking(() => ({})),
    401,
    'signature_missing',
  )
  refuses(
    'a made-up token',
    needsBearer,
    asking(() => ({ token: 'x'.repeat(40) })),
    401,
    'invalid_token',
  )
  refuses(
    'a made-up key',
    needsBearer,
    asking(() => ({ token: `hs_test_${'x'.repeat(57)}` })),
    401,
    'invalid_token',
  )
  refuses(
    'a forged token',
    needsBearer,
    asking(() => ({ token: forged(ada.token) })),
    401,
    'invalid_token',
  )
  refuses(
    'a token that is not signed',
    needsBearer,
    asking(() => ({ token: unsigned(ada.token) })),
    401,
    'invalid_token',
  )
  const basic = { headers: { authorization: `Basic ${Buffer.from('ada:x').toString('base64')}` } }
  refuses(
    'a password sent along',
    needsBearer,
    asking(() => basic),
    401,
    'invalid_token',
  )
  const inTheUrl = async (operation: Endpoint) => {
    const { path } = operation
    return hive.inject({ method: operation.method, url: `${path}?access_token=${ada.token}&api_key=${ada.token}` })
  }
  refuses('a token in the address', needsBearer, inTheUrl, 401, 'authentication_required')
  refuses(
    'a person',
    needsWorker,
    asking(() => ({ token: ada.token })),
    401,
    'signature_missing',
  )
  refuses(
    'the admin',
    needsWorker,
    asking(() => ({ token: admin.token })),
    401,
    'signature_missing',
  )

  const signed = async (operation: Endpoint): Promise<Reply> => {
    const reply = await drone.call(operation)
    return { statusCode: reply.status, headers: reply.headers, body: '', json: () => reply.problem } as Reply
  }
  refuses('a worker', needsBearer, signed, 401, 'authentication_required')

  describe('no longer', () => {
    let loggedOut: Person
    let deactivated: Person
    let keyOfDeactivated = ''
    let revokedKey = ''
    before(async () => {
      loggedOut = await hive.person('logged-out')
      await hive.call(sessions.logOut, { token: loggedOut.token })
      deactivated = await hive.person('deactivated')
      keyOfDeactivated = (await newKey(deactivated, ['write'])).apiKey
      await hive.ctx.db.kysely
        .updateTable('users')
        .set({ deactivatedAt: hive.clock.now() })
        .where('id', '=', deactivated.userId)
        .execute()
      hive.ctx.bus.publish('identity')
      const { apiKey, id } = await newKey(ada, ['write'])
      revokedKey = apiKey
      await hive.call(apiKeys.revokeApiKey, { token: ada.token, params: { apiKeyId: id } })
    })
    refuses(
      'a session that was ended',
      needsBearer,
      asking(() => ({ token: loggedOut.token })),
      401,
      'session_revoked',
    )
    refuses(
      'a deactivated person',
      needsBearer,
      asking(() => ({ token: deactivated.token })),
      401,
      'session_revoked',
    )
    refuses(
      'the key of a deactivated person',
      needsBearer,
      asking(() => ({ token: keyOfDeactivated })),
      401,
      'invalid_token',
    )
    refuses(
      'a revoked key',
      needsBearer,
      asking(() => ({ token: revokedKey })),
      401,
      'invalid_token',
    )
  })

  describe('without the right', () => {
    const has = (access: Endpoint['access']) => (operation: Endpoint) => operation.access === access
    for (const access of ['admin', 'metrics'] as const) {
      const asAda = asking(() => ({ token: ada.token }))
      refuses(`a person who is no admin, of ${access}`, has(access), asAda, 403, 'permission_denied')
    }
    const keyOf = (owner: () => Person, scopes: Scope[]) => {
      let key: Promise<{ apiKey: string }> | undefined
      return asking(async () => {
        key ??= newKey(owner(), scopes)
        return { token: (await key).apiKey }
      })
    }
    for (const access of ['admin', 'metrics'] as const) {
      const asKey = keyOf(() => admin, ['write'])
      refuses(`an admin’s key without the scope ${access}`, has(access), asKey, 403, 'permission_denied')
    }
    refuses(
      'a key with every scope',
      // A key can never bring the fresh proof of a person.
      ({ access, stepUp }) => access === 'session' || stepUp === true,
      keyOf(() => admin, ['admin']),
      403,
      'permission_denied',
    )
    for (const lacking of permissions) {
      const others = permissions.filter((each) => each !== lacking)
      refuses(
        `a key without ${lacking}`,
        has(lacking),
        keyOf(() => ada, others),
        403,
        'permission_denied',
      )
    }
  })

  describe('of somebody else', () => {
    const isTheirs = (operation: Endpoint) =>
      needsBearer(operation) && operation.access !== 'admin' && parametersOf(operation).length > 0
    refuses(
      'another team’s person',
      isTheirs,
      asking(async (operation) => ({ token: eve.token, headers: await proofFor(eve, operation) })),
      404,
      /_not_found$/,
    )
    const isOfProject = (operation: Endpoint) =>
      isPermission(operation.access) &&
      operation.stepUp !== true &&
      parametersOf(operation).some((name) => name === 'projectId' || name === 'jobId')
    let boundKey: Promise<string> | undefined
    const bound = async (): Promise<string> => {
      boundKey ??= hive.project(ada, 'another').then(async (id) => (await newKey(ada, ['write'], id)).apiKey)
      return boundKey
    }
    refuses(
      'a key of another project',
      isOfProject,
      asking(async () => ({ token: await bound() })),
      404,
      /_not_found$/,
    )
  })

  describe('in the end', () => {
    before(() => hive.clock.advance(16 * 60_000))
    refuses(
      'an expired token',
      needsBearer,
      asking(() => ({ token: ada.token })),
      401,
      'token_expired',
    )
  })

  test('nothing of it changed anything', async () => {
    const job = await hive.ctx.db.kysely.selectFrom('jobs').select('state').execute()
    assert.deepEqual(job, [{ state: 'queued' }])
    const worker = await hive.ctx.db.kysely
      .selectFrom('workers')
      .select(['revokedAt', 'drainingAt'])
      .executeTakeFirstOrThrow()
    assert.deepEqual(worker, { revokedAt: null, drainingAt: null })
    await hive[Symbol.asyncDispose]()
  })
})

/** The token with one bit of its signature changed. */
function forged(token: string): string {
  const end = token.lastIndexOf('.') + 1
  return `${token.slice(0, end)}${token.charAt(end) === 'A' ? 'B' : 'A'}${token.slice(end + 1)}`
}

function unsigned(token: string): string {
  const header = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')
  return `${header}.${token.split('.')[1]}.`
}
