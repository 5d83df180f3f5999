// What is asked of the server. Its refusals come as `Refusal`, in words that say what to do.

const advice = {
  authentication_required: 'You are no longer signed in. Reload the page and sign in again.',
  email_unverified:
    'The email address of this account is not confirmed yet: open the link in the mail that was sent to it.',
  external_email_unverified: 'The provider does not vouch for your email address: confirm it there, then try again.',
  external_link_required:
    'There is an account with this email address. Sign in to it with its password or passkey instead.',
  external_unavailable: 'The provider does not answer. Try again in a minute, or sign in another way.',
  factor_exists: 'That is set up already.',
  invalid_code: 'That code is not right, or was used before. Wait for the next one and try again.',
  invalid_credentials: 'The name or the password is wrong. Check both and try again.',
  invalid_external_login: 'The sign-in with the provider did not succeed. Try again, or sign in another way.',
  invalid_invitation: 'This invitation is not for the address of this account, was used or taken back, or has expired.',
  invalid_mfa_token: 'It took too long, or too many answers were wrong. Cancel, and sign in again.',
  invalid_passkey: 'This passkey opens no account here. Try another one, or sign in another way.',
  invalid_user_code:
    'No device waits with this code. It may have expired: start again on the device, and compare the letters.',
  last_credential: 'Nobody could sign in to the account after this. Set a password or add another passkey first.',
  member_exists: 'You are a member of this team already.',
  password_too_short_alone: 'The password is too short to stand alone. Set one of at least 15 characters first.',
  registration_closed:
    'You have no account here yet, and this server lets nobody register. Ask its admin for an invitation.',
  session_revoked: 'You are no longer signed in. Reload the page and sign in again.',
  step_up_failed: 'That did not prove it is you. Check what you entered and try again.',
  step_up_required: 'It took too long. Try again.',
  token_expired: 'You are no longer signed in. Reload the page and sign in again.',
}

export class Refusal extends Error {
  constructor(message, code) {
    super(message)
    this.code = code
  }
}

let skewMs = 0
/** The server's time: the person's own clock may be wrong, and the age of a request is what they decide by. */
export const now = () => Date.now() + skewMs

/** Asks the server; `body` is the JSON text to be sent, byte for byte. Answers undefined where there is nothing to tell. */
export async function ask(method, path, body, headers = {}) {
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  const request = { method, headers: { ...type, ...headers }, body, credentials: 'omit', redirect: 'error' }
  const reply = await fetch(`/api/v1${path}`, request).catch(() => {
    throw new Refusal('The server does not answer. Check your connection and try again.')
  })
  const date = Date.parse(reply.headers.get('date') ?? '')
  if (!Number.isNaN(date)) skewMs = date - Date.now()
  const text = await reply.text()
  if (!reply.ok) throw refusalOf(reply, text)
  return text === '' ? undefined : JSON.parse(text)
}

export const post = (path, body) => ask('POST', path, body && JSON.stringify(body))

function refusalOf(reply, text) {
  if (!reply.headers.get('content-type')?.startsWith('application/problem+json'))
    return new Refusal('The server is out of order. Try again in a minute.')
  const { code, title, detail, fields = [] } = JSON.parse(text)
  if (reply.status === 429 || code === 'overloaded') {
    const seconds = Number(reply.headers.get('retry-after') ?? 60)
    return new Refusal(
      `${title}. Try again in ${seconds > 90 ? `${Math.ceil(seconds / 60)} minutes` : `${seconds} seconds`}.`,
      code,
    )
  }
  const reasons = fields.map(({ path, message }) => `${path.split('/').at(-1)} ${message}`)
  const said = [`${title}.`, ...(reasons.length > 0 ? reasons : [detail ?? ''])].join(' ').trim()
  return new Refusal(Object.hasOwn(advice, code) && reasons.length === 0 ? advice[code] : said, code)
}
