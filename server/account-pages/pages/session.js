// The page's own session, for this page alone: in memory, ended when the page is left or its one access token is about to expire.
import { problemOf, show, until } from './screen.js'
import { ask } from './server.js'

const deviceKey = 'hivesync.device'
let token
let timer
let person

/** Keeps what a login answered; the refresh token is not kept at all. */
export function openSession({ accessToken, expiresIn, user, deviceToken }) {
  token = accessToken
  person = user
  if (deviceToken !== undefined) keepDevice(deviceToken)
  clearTimeout(timer)
  timer = setTimeout(expire, expiresIn * 900)
  return user
}

export const signedIn = () => person

/** Asks in the name of who is signed in; `body` as for `ask`. */
export function asPerson(method, path, body, headers = {}) {
  return ask(method, path, body, { ...headers, authorization: `Bearer ${token}` })
}

/** Signs the page out, which was signed in for what is now done, and says what has become of it. */
export async function leave(said) {
  show('wait', { text: 'Signing this page out.' })
  const problem = await endSession().then(() => undefined, problemOf)
  const left = `This page could not sign itself out, though: end its session in the list of your sessions. ${problem}`
  return show('said', problem === undefined ? said : { ...said, text: `${said.text} ${left}` })
}

/** Ends the session; whether or not the server still knew it, this page forgets it. */
async function endSession() {
  if (token === undefined) return
  const ended = ask('POST', '/auth/logout', undefined, { authorization: `Bearer ${token}` })
  forget()
  await ended
}

async function expire() {
  const ended = endSession()
  show('again', {
    title: 'You are signed out',
    text: 'This page keeps nobody signed in for longer than a few minutes.',
  })
  await Promise.allSettled([ended])
  await until({ submit: () => location.reload() })
}

function forget() {
  clearTimeout(timer)
  token = undefined
  person = undefined
}

addEventListener('pagehide', () => {
  if (token === undefined) return
  const headers = { authorization: `Bearer ${token}` }
  fetch('/api/v1/auth/logout', { method: 'POST', headers, credentials: 'omit', keepalive: true })
  forget()
})
// Brought back from the browser's memory of pages: its session has ended.
addEventListener('pageshow', (event) => event.persisted && location.reload())

/** What this browser is known by; it opens nothing, but a login with it is no stranger's: no mail about a new device, no throttle of strangers. */
export function knownDevice() {
  const known = storage()?.getItem(deviceKey)
  // Only what could be one: anything else would be refused with the login.
  return known && known.length <= 100 ? { device: { token: known } } : {}
}

function keepDevice(deviceToken) {
  storage()?.setItem(deviceKey, deviceToken)
}

/** Undefined where the browser keeps nothing for pages: every login then comes from a new device. */
function storage() {
  try {
    return localStorage
  } catch {
    return undefined
  }
}
