import type { Context } from '../platform/context.ts'
import { AppError } from '../platform/errors.ts'
import {
  createOpenIdProvider,
  ExternalLoginRefused,
  type ExternalPerson,
  type OpenIdProvider,
  ProviderUnavailable,
} from '../platform/net/openid.ts'

const providers = new WeakMap<Context, OpenIdProvider>()
/** The page that the provider sends the browser back to. */
export const callbackPath = '/account/external'

export function requireProvider(ctx: Context): OpenIdProvider {
  const { oidc, publicUrl } = ctx.config
  if (oidc === null) throw new AppError('external_not_configured')
  let provider = providers.get(ctx)
  if (provider === undefined) {
    provider = createOpenIdProvider(oidc, `${publicUrl}${callbackPath}`, ctx.clock)
    providers.set(ctx, provider)
  }
  return provider
}

export interface ProviderAnswer {
  flowToken: string
  code: string
  state: string
  iss?: string
}

/** Whom the provider vouches for; every way in which that fails has one of two names. Never inside a transaction: it waits for a network. */
export function askProvider(ctx: Context, { flowToken, ...answer }: ProviderAnswer): Promise<ExternalPerson> {
  return named(ctx, () => requireProvider(ctx).exchange(flowToken, answer))
}

/** Where to send the browser. */
export function authorizationUrl(ctx: Context, flowToken: string): Promise<string> {
  return named(ctx, () => requireProvider(ctx).authorizationUrl(flowToken))
}

async function named<T>(ctx: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ExternalLoginRefused) {
      ctx.log.warn({ event: 'external_login_refused', reason: error.message })
      throw new AppError('invalid_external_login')
    }
    if (!(error instanceof ProviderUnavailable)) throw error
    ctx.log.error({ event: 'external_provider_unavailable' }, error.cause)
    throw new AppError('external_unavailable', {}, { headers: { 'retry-after': '30' } })
  }
}
