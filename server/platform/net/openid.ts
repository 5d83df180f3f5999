import { Email } from '@hivesync/contracts/accounts.ts'
import { conforms } from '@hivesync/contracts/schema.ts'
import type { Configuration } from 'openid-client'
import type { Clock } from '../clock.ts'
import { isLoopback, type OidcSettings } from '../config.ts'
import { sha256Base64url } from '../crypto/hash.ts'

const timeoutSeconds = 10
/** The provider's metadata and keys are read anew this often. */
const maxAgeMs = 60 * 60_000
const scope = 'openid email profile'

/** The provider does not answer, or not as OpenID Connect says. */
export class ProviderUnavailable extends Error {
  override name = 'ProviderUnavailable'
}

/** What came back from the provider does not prove anybody. */
export class ExternalLoginRefused extends Error {
  override name = 'ExternalLoginRefused'
}

/** Whom the provider vouches for. `issuer` and `subject` together name a person; the address is only a claim (OpenID Connect Core §5.7). */
export interface ExternalPerson {
  readonly issuer: string
  readonly subject: string
  readonly email: string | null
  readonly emailVerified: boolean
  readonly preferredUsername: string | null
}

export interface OpenIdProvider {
  /** Where to send the browser. State, nonce and PKCE verifier are made of the secret, so nothing needs to be kept but its hash. */
  authorizationUrl(secret: string): Promise<string>
  /** Exchanges the code; throws `ExternalLoginRefused` unless state, nonce, verifier, issuer, audience, signature and times all hold. */
  exchange(secret: string, answer: { code: string; state: string; iss?: string }): Promise<ExternalPerson>
}

/** The relying party's side of OpenID Connect Core 1.0: authorization code with PKCE (RFC 7636), the ID token's signature always checked. */
export function createOpenIdProvider(settings: OidcSettings, redirectUri: string, clock: Clock): OpenIdProvider {
  let opened: { at: number; configuration: Promise<Configuration> } | undefined

  function open(): Promise<Configuration> {
    if (opened !== undefined && Math.abs(clock.now() - opened.at) < maxAgeMs) return opened.configuration
    const entry = { at: clock.now(), configuration: discover(settings) }
    opened = entry
    entry.configuration.catch(() => {
      // Not kept: the next login tries again. This one has the failure itself.
      if (opened === entry) opened = undefined
    })
    return entry.configuration
  }

  return {
    async authorizationUrl(secret) {
      const { buildAuthorizationUrl, calculatePKCECodeChallenge } = await library()
      const { state, nonce, verifier } = partsOf(secret)
      const challenge = { code_challenge: await calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }
      const request = { redirect_uri: redirectUri, response_type: 'code', scope, state, nonce, ...challenge }
      return buildAuthorizationUrl(await open(), request).href
    },
    async exchange(secret, answer) {
      const { state, nonce, verifier } = partsOf(secret)
      const url = new URL(redirectUri)
      for (const [name, value] of Object.entries(answer)) if (value !== undefined) url.searchParams.set(name, value)
      const checks = { expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true }
      return redeem(await open(), url, checks)
    },
  }
}

// 40 ms at start for what most servers do not use.
const library = () => import('openid-client')

async function discover(settings: OidcSettings): Promise<Configuration> {
  const { allowInsecureRequests, discovery, enableNonRepudiationChecks } = await library()
  const issuer = new URL(settings.issuer)
  const isLocal = issuer.protocol === 'http:' && isLoopback(issuer.hostname.replace(/^\[|\]$/g, ''))
  try {
    return await discovery(issuer, settings.clientId, settings.clientSecret, undefined, {
      timeout: timeoutSeconds,
      // TLS vouches for the token endpoint's answer; the signature is checked all the same (ASVS 6.8.2).
      execute: [enableNonRepudiationChecks, ...(isLocal ? [allowInsecureRequests] : [])],
    })
  } catch (error) {
    throw new ProviderUnavailable('the provider could not be discovered', { cause: error })
  }
}

async function redeem(
  configuration: Configuration,
  url: URL,
  checks: { expectedState: string; expectedNonce: string; pkceCodeVerifier: string; idTokenExpected: boolean },
): Promise<ExternalPerson> {
  const { authorizationCodeGrant, ClientError, fetchUserInfo, ResponseBodyError } = await library()
  try {
    const tokens = await authorizationCodeGrant(configuration, url, checks)
    const claims = tokens.claims()
    if (claims === undefined) throw new ExternalLoginRefused('no ID token')
    const { userinfo_endpoint: hasUserInfo } = configuration.serverMetadata()
    const isComplete = claims.email !== undefined && claims.email_verified !== undefined
    if (isComplete || hasUserInfo === undefined) return toPerson(claims, claims)
    return toPerson(claims, await fetchUserInfo(configuration, tokens.access_token, claims.sub))
  } catch (error) {
    // A code, state, nonce or token that does not hold, in the words of either side.
    const isRefusal = error instanceof ResponseBodyError || (error instanceof ClientError && !isUnreachable(error))
    if (error instanceof ExternalLoginRefused) throw error
    if (isRefusal) throw new ExternalLoginRefused('the answer does not hold', { cause: error })
    throw new ProviderUnavailable('the provider does not answer', { cause: error })
  }
}

function isUnreachable(error: { code?: string | undefined }): boolean {
  return error.code === 'OAUTH_TIMEOUT' || error.code === 'OAUTH_RESPONSE_IS_NOT_CONFORM'
}

// An address that we would not take from a person we do not take from a provider.
const isEmail = (text: unknown): text is string => conforms(Email, text) && text.isWellFormed()

/** Issuer and subject are the ID token's; what is said of the person comes from one place, so that no word is put to another's address. */
function toPerson(token: { iss: string; sub: string }, said: Record<string, unknown>): ExternalPerson {
  const { email, email_verified: verified, preferred_username: name } = said
  return {
    issuer: token.iss,
    subject: token.sub,
    email: isEmail(email) ? email : null,
    // Exactly true: a text "true" of a careless provider vouches for nothing.
    emailVerified: verified === true,
    preferredUsername: typeof name === 'string' ? name : null,
  }
}

function partsOf(secret: string): { state: string; nonce: string; verifier: string } {
  const part = (name: string) => sha256Base64url(`external\n${name}\n${secret}`)
  return { state: part('state'), nonce: part('nonce'), verifier: part('verifier') }
}
