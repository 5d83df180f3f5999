// The one way into these pages: password, passkey or external provider, and the second factor where there is one.
import { leaveForProvider } from './external.js'
import { knowsPasskeys, usePasskey } from './passkey.js'
import { prove } from './prove.js'
import { show, until } from './screen.js'
import { ask, post, Refusal } from './server.js'
import { knownDevice, openSession, signedIn } from './session.js'

/**
 * Has the person sign in; answers who it is. `about` is what the page is for: its texts, and what it needs to go on with when the person
 * comes back from the provider. `arrival` is what they came back with: the reply of the login, or a problem.
 */
export async function signIn({ title, text, ...about }, arrival = {}) {
  if (signedIn() !== undefined) return signedIn()
  let { reply, problem } = arrival
  for (;;) {
    reply ??= await passFirst({ title, text }, about, problem)
    const login = reply.mfaRequired ? await passSecond(reply) : reply
    if (login !== undefined) return openSession(login)
    reply = undefined
    problem = undefined
  }
}

async function passFirst(texts, about, problem) {
  show('wait', { text: 'Asking the server how you can sign in.' })
  const { provider, said } = await findProvider()
  const screen = show('sign-in', { ...texts, provider: provider?.name ?? '' }, problem ?? said)
  screen.querySelector('[data-act=passkey]').hidden = !knowsPasskeys
  screen.querySelector('[data-act=external]').hidden = provider === null
  return until({
    submit: ({ login, password }) => {
      if (login.trim() === '' || password === '') throw new Refusal('Enter both the name and the password.')
      return post('/auth/login', { login: login.trim(), password, ...knownDevice() })
    },
    passkey: async () => {
      const answer = await usePasskey(await post('/auth/passkeys/login/options'))
      return post('/auth/passkeys/login', { ...answer, ...knownDevice() })
    },
    external: () => leaveForProvider(about),
  })
}

/** A server that does not answer is told of, and asked again by the next attempt to sign in. */
async function findProvider() {
  try {
    return await ask('GET', '/auth/external')
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { provider: null, said: error.message }
  }
}

/** Undefined when the person turned back: then the first factor is asked for again. */
function passSecond({ mfaToken, methods }) {
  return prove({
    title: 'One more step',
    text: 'This account has a second factor.',
    methods,
    challenge: () => post('/auth/mfa/options', { mfaToken }),
    send: (given) => post('/auth/mfa', { mfaToken, ...given }),
  })
}
