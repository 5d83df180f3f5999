// How the people of a test prove themselves: their second factor, and the fresh proof that a sensitive operation asks for.
import assert from 'node:assert/strict'
import type { BodyOf, Endpoint, ParamsOf } from '@hivesync/contracts/endpoint.ts'
import * as mfa from '@hivesync/contracts/mfa.ts'
import { relyingPartyOf } from '../../server/mfa/passkeys.ts'
import { createAuthenticator, type SoftPasskey } from '../../server/mfa/test-authenticator.ts'
import { sha256Base64url } from '../../server/platform/crypto/hash.ts'
import { totpCodeAt } from '../../server/platform/crypto/totp.ts'
import type { Hive, Person } from './hive.ts'

/** A person's authenticator app. */
export interface Authenticator {
  readonly secret: string
  readonly recoveryCodes: readonly string[]
  /** The code of the next time step, which the clock is set to: none is shown twice. */
  code(): string
}

/** What a call of a sensitive operation will carry. */
export interface ActOf<E> {
  params?: ParamsOf<E>
  body?: BodyOf<E>
}

export interface Proofs {
  /**
   * The header that proves the person for exactly this call (requirement A8), as `hive.call` will send it: by the password, or by the
   * authenticator app where `enrolTotp` gave the person one, which moves the clock by 30 s.
   */
  stepUp<const E extends Endpoint>(person: Person, endpoint: E, act?: ActOf<E>): Promise<Record<string, string>>
  /** Gives the person an authenticator app; every later login and step-up of theirs needs it. */
  enrolTotp(person: Person): Promise<Authenticator>
  /** The app that `enrolTotp` gave the person. */
  authenticatorOf(userId: string): Authenticator | undefined
}

const stepMs = 30_000

export function createProofs(hive: Pick<Hive, 'call' | 'clock' | 'ctx'>, password: string): Proofs {
  const authenticators = new Map<string, Authenticator>()

  const proofs: Proofs = {
    async stepUp(person, endpoint, act = {}) {
      const app = authenticators.get(person.userId)
      const proof =
        app === undefined ? { method: 'password' as const, password } : { method: 'totp' as const, code: app.code() }
      const body = { ...describeAct(endpoint, act), ...proof }
      const reply = await hive.call(mfa.stepUp, { token: person.token, body })
      return { 'step-up': reply.body.stepUpToken }
    },
    async enrolTotp(person) {
      const { token } = person
      const headers = await proofs.stepUp(person, mfa.startTotp, { body: {} })
      const { secret } = (await hive.call(mfa.startTotp, { token, body: {}, headers })).body
      const code = (): string => {
        hive.clock.advance(stepMs)
        return totpCodeAt(secret, hive.ctx.clock.now())
      }
      const { recoveryCodes } = (await hive.call(mfa.confirmTotp, { token, body: { code: code() } })).body
      const app = { secret, recoveryCodes: recoveryCodes ?? [], code }
      authenticators.set(person.userId, app)
      return app
    },
    authenticatorOf: (userId) => authenticators.get(userId),
  }
  return proofs
}

/** An act in the words of the step-up contract; the digest is of the body as `hive.call` sends it. */
export function describeAct(
  endpoint: Endpoint,
  act: { params?: unknown; body?: unknown },
): { operation: string; params?: Record<string, string>; bodyDigest?: string } {
  const { params, body } = act
  assert.equal(endpoint.stepUp, true, `${endpoint.name} needs no step-up`)
  return {
    operation: endpoint.name,
    ...(params !== undefined && { params: params as Record<string, string> }),
    ...(body !== undefined && { bodyDigest: sha256Base64url(JSON.stringify(body)) }),
  }
}

/** Gives the person a passkey, as a browser would. */
export async function addPasskey(hive: Hive, person: Person): Promise<{ factorId: string; passkey: SoftPasskey }> {
  const { token } = person
  const headers = await hive.stepUp(person, mfa.startPasskey)
  const { challengeToken, publicKey } = (await hive.call(mfa.startPasskey, { token, headers })).body
  const [origin = ''] = relyingPartyOf(hive.ctx.config).origins
  const { credential, passkey } = createAuthenticator(origin).create(publicKey)
  const body = { challengeToken, credential, name: 'phone' }
  return { factorId: (await hive.call(mfa.addPasskey, { token, body })).body.factor.id, passkey }
}
