// A real OpenID Connect provider on a loopback port, for tests: it signs in whomever the test says, without asking.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'

export interface TestProvider extends AsyncDisposable {
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: string
  /** Follows the address as a browser in which this person is signed in would; answers where it is sent back to. */
  browse(url: string, person: string): Promise<URL>
  /** Does this once, when the next code is exchanged, before it answers. */
  meanwhile(act: () => Promise<unknown>): void
  /** Publishes this key in place of those it signs with. */
  publish(key: Record<string, unknown>): void
  /** Whom it signs in from now on when a real browser comes; nobody (null) is turned away. */
  signIn(person: string | null): void
}

/** What it says of a person when it is asked for more; what the ID token itself says, if anything, is `idToken`. */
export type Claims = Record<string, unknown>

export async function startProvider(redirectUri: string, people: Record<string, Claims>): Promise<TestProvider> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const [clientId, clientSecret] = ['hivesync', 'a secret of this test alone, made for it']
  const provider = new Provider(issuer, {
    clients: [{ client_id: clientId, client_secret: clientSecret, redirect_uris: [redirectUri] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
    cookies: { keys: ['cookies of a test'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => true },
    // The ID token says what this test puts into it.
    conformIdTokenClaims: false,
    async findAccount(_ctx, id) {
      const { idToken, ...more } = people[id] ?? {}
      return { accountId: id, claims: async (use) => ({ sub: id, ...(use === 'id_token' ? (idToken ?? {}) : more) }) }
    },
  })
  const handle = provider.callback()
  let signedIn: string | null = ''
  let published: Record<string, unknown> | undefined
  let once: (() => Promise<unknown>) | undefined
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/token' && once !== undefined) {
      const act = once
      once = undefined
      act().then(
        () => handle(request, response),
        (error: unknown) => response.destroy(error as Error),
      )
      return
    }
    if (request.url === '/jwks' && published !== undefined) {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [published] }))
      return
    }
    if (!request.url?.startsWith('/interaction/')) return void handle(request, response)
    finish(provider, request, response, signedIn).catch((error: unknown) => response.destroy(error as Error))
  })

  return {
    issuer,
    clientId,
    clientSecret,
    meanwhile(act) {
      once = act
    },
    publish(key) {
      published = key
    },
    signIn(person) {
      signedIn = person
    },
    async browse(url, person) {
      signedIn = person
      const cookies = new Map<string, string>()
      let next = new URL(url)
      for (let hop = 0; hop < 10; hop++) {
        if (!next.href.startsWith(issuer)) return next
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
        const reply = await fetch(next, { redirect: 'manual', headers: cookie === '' ? {} : { cookie } })
        for (const set of reply.headers.getSetCookie()) {
          const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(set) ?? []
          cookies.set(name, value)
        }
        const location = reply.headers.get('location')
        if (location === null) throw new Error(`${reply.status} ${await reply.text()}`)
        await reply.body?.cancel()
        next = new URL(location, issuer)
      }
      throw new Error('the provider never sent the browser back')
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Signs the person in and agrees to everything. */
async function finish(provider: Provider, request: IncomingMessage, response: ServerResponse, person: string | null) {
  const { params, prompt } = await provider.interactionDetails(request, response)
  if (person === null)
    return provider.interactionFinished(request, response, { error: 'access_denied', error_description: '<b>no</b>' })
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: person } })
  }
  const grant = new provider.Grant({ accountId: person, clientId: String(params.client_id) })
  grant.addOIDCScope('openid email profile')
  const consent = { grantId: await grant.save() }
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true })
}
