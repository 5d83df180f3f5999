// How somebody proves themselves once more: as the second factor of a login, or afresh for a sensitive act.
import { knowsPasskeys, usePasskey } from './passkey.js'
import { show, until } from './screen.js'
import { post } from './server.js'
import { asPerson, signedIn } from './session.js'

const kinds = {
  passkey: { go: 'Use a passkey' },
  totp: {
    label: 'Code of the authenticator app',
    hint: 'Six digits; they change every 30 seconds',
    go: 'Go on',
    input: { inputMode: 'numeric', autocomplete: 'one-time-code' },
  },
  recovery: {
    label: 'Recovery code',
    hint: 'One of those you kept; it works once',
    go: 'Go on',
    input: { autocomplete: 'off' },
  },
  password: { label: 'Password', go: 'Go on', input: { type: 'password', autocomplete: 'current-password' } },
}
const order = ['passkey', 'totp', 'recovery', 'password']

/**
 * Has the person prove themselves in one of `methods`. `send` gets the method and its answer, and its reply is the result; `challenge` brings what a
 * passkey is asked with, a new one for each attempt. Undefined when they turned back.
 */
export async function prove({ title, text, methods, challenge, send }) {
  const usable = order.filter((method) => methods.includes(method) && (method !== 'passkey' || knowsPasskeys))
  const [first = 'passkey'] = usable
  let method = first
  for (;;) {
    showMethod(method, usable, { title, text })
    const turn = (other) => () => ({ other })
    const done = await until({
      submit: async ({ answer }) => {
        const given = method === 'passkey' ? await usePasskey(await challenge()) : answerOf(method, answer)
        return { result: await send({ method, ...given }) }
      },
      passkey: turn('passkey'),
      totp: turn('totp'),
      recovery: turn('recovery'),
      cancel: () => ({ result: undefined }),
    })
    if (done.other === undefined) return done.result
    method = done.other
  }
}

const answerOf = (method, answer) => (method === 'password' ? { password: answer } : { code: answer })

function showMethod(method, usable, texts) {
  const { label, hint, go, input = {} } = kinds[method]
  const screen = show('prove', { ...texts, label, hint, go })
  const field = screen.querySelector('#answer')
  Object.assign(field, input)
  screen.querySelector('[name=username]').value = signedIn()?.username ?? ''
  screen.querySelector('.answer').hidden = method === 'passkey'
  for (const button of screen.querySelectorAll('[data-act]')) {
    const { act } = button.dataset
    if (act !== 'cancel') button.hidden = act === method || !usable.includes(act)
  }
  ;(method === 'passkey' ? screen.querySelector('h1') : field).focus()
}

/**
 * Asks for a sensitive act with a fresh proof of the person, which is good for exactly this act and body. Undefined when they turned back,
 * else what the server answered, or null for nothing.
 */
export async function askWithProof({ method, path, operation, params, body, title, text }) {
  const sent = body === undefined ? undefined : JSON.stringify(body)
  const act = { operation, params, bodyDigest: sent === undefined ? undefined : await digestOf(sent) }
  const offer = () => asPerson('POST', '/auth/step-up/options', JSON.stringify(act))
  const { methods } = await offer()
  if (methods.length === 0) return mailPasswordLink()
  const proof = await prove({
    title,
    text,
    methods,
    challenge: async () => (await offer()).passkey,
    send: (given) => asPerson('POST', '/auth/step-up', JSON.stringify({ ...act, ...given })),
  })
  if (proof === undefined) return undefined
  return (await asPerson(method, path, sent, { 'step-up': proof.stepUpToken })) ?? null
}

/** Who came through an external provider alone has nothing of their own to prove yet. */
async function mailPasswordLink() {
  show('no-proof')
  const { email } = signedIn()
  await until({
    submit: async () => {
      await post('/auth/password/forgot', { login: email })
      return true
    },
    cancel: () => true,
  })
  return undefined
}

async function digestOf(text) {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text))
  return btoa(String.fromCharCode(...new Uint8Array(hash)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace('=', '')
}
