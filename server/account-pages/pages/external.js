// Signing in with the external provider: away with the whole window, and back to /account/external.
import { now, post, Refusal } from './server.js'
import { knownDevice } from './session.js'

const flowKey = 'hivesync.flow'
const channelName = 'hivesync.external'
/** For a window beside this one to answer. */
const patienceMs = 1000

/** Goes to the provider. Until the browser is back this window alone keeps the flow's token and what the person was about. */
export async function leaveForProvider(about) {
  const { url, flowToken } = await post('/auth/external/start')
  sessionStorage.setItem(flowKey, JSON.stringify({ ...about, flowToken, startedAt: now() }))
  location.assign(url)
}

/** What was kept, and is now forgotten: a flow serves once, and one that was given up does not stay. */
export function takeFlow() {
  try {
    const kept = sessionStorage.getItem(flowKey)
    sessionStorage.removeItem(flowKey)
    return kept === null ? undefined : JSON.parse(kept)
  } catch (error) {
    if (error.name === 'SecurityError') return undefined
    throw error
  }
}

/** Finishes the login with the provider's answer. */
export async function finishFlow({ flowToken, invitation }, answer) {
  return post('/auth/external/finish', { flowToken, ...readAnswer(answer), invitation, ...knownDevice() })
}

/** What the server needs of the answer. Nothing the answer says is ever shown: anybody can make such an address. */
export function readAnswer(answer) {
  if (answer.get('error') === 'access_denied')
    throw new Refusal('The sign-in was turned down at the provider. Try again, or sign in another way.')
  const [code, state, iss] = ['code', 'state', 'iss'].map((name) => answer.get(name) ?? undefined)
  if (code === undefined || state === undefined)
    throw new Refusal('The sign-in with the provider did not succeed. Try again, or sign in another way.')
  return { code, state, iss }
}

/**
 * For a window that must not go away, because it alone holds the session: waits for what another window of this browser brings back from the provider,
 * and takes the answer to this very flow, whose state nobody else knows. Answers how to stop.
 */
export function listenFor(state, take) {
  const channel = new BroadcastChannel(channelName)
  channel.addEventListener('message', ({ data }) => {
    if (typeof data?.answer !== 'string') return
    const answer = new URLSearchParams(data.answer)
    if (state === null || answer.get('state') !== state) return
    channel.postMessage({ taken: state })
    take(answer)
  })
  return () => channel.close()
}

/** Offers what came back to the window that waits for it; false when there is none. */
export function offerAnswer(answer) {
  const channel = new BroadcastChannel(channelName)
  return new Promise((resolve) => {
    channel.addEventListener('message', ({ data }) => data?.taken === answer.get('state') && resolve(true))
    setTimeout(() => resolve(false), patienceMs)
    channel.postMessage({ answer: `${answer}` })
  }).finally(() => channel.close())
}
