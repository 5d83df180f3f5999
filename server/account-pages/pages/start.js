// Which page this is, and what came with its address: that leaves the address bar and the history at once.
import { letDeviceIn } from './device.js'
import { finishFlow, offerAnswer, takeFlow } from './external.js'
import { takeInvitation } from './invitation.js'
import { tendPasskeys } from './passkeys.js'
import { problemOf, show } from './screen.js'

const pages = {
  '/account/device': letDeviceIn,
  '/account/invitation': takeInvitation,
  '/account/passkeys': tendPasskeys,
}
const { protocol, hostname, port, pathname, search, hash } = location
const isBack = pathname === '/account/external'
// A fragment is sent to nobody; what the provider put into the query must be in none of our addresses any longer than it takes to read it.
const carried = (isBack && search !== '' ? search : hash).slice(1)

if (hostname === '127.0.0.1' || hostname === '[::1]') {
  // Passkeys know no addresses. Everything happens at one origin, so that a sign-in ends where it began.
  location.replace(`${protocol}//localhost${port && `:${port}`}${pathname}${carried && `#${carried}`}`)
} else {
  history.replaceState(null, '', pathname)
  // Another link opened in the same tab: the browser keeps the page and only says that the fragment is another.
  addEventListener('hashchange', () => location.reload())
  start().catch((error) => show('said', { title: 'This did not work', text: problemOf(error) }))
}

function start() {
  const flow = takeFlow()
  return isBack ? comeBack(flow) : pages[pathname](readFragment(), {})
}

/** Goes on, in this very document, with the page that the person left for the provider: what the login answered stays in memory. */
async function comeBack(flow) {
  show('wait', { text: 'Finishing the sign-in.' })
  const answer = new URLSearchParams(carried)
  if (flow === undefined || !Object.hasOwn(pages, flow.path)) {
    if (await offerAnswer(answer))
      return show('said', { title: 'You can close this window', text: 'Go on in the one you came from.' })
    const text = 'It was begun in another window, or finished before. Start again from the page you came from.'
    return show('said', { title: 'This sign-in cannot be finished here', text })
  }
  const arrival = await finishFlow(flow, answer).then(
    (reply) => ({ reply, startedAt: flow.startedAt }),
    (error) => ({ problem: problemOf(error) }),
  )
  history.replaceState(null, '', flow.path)
  return pages[flow.path](flow.value ?? '', arrival)
}

function readFragment() {
  try {
    return decodeURIComponent(carried)
  } catch {
    // Not an address that anybody of ours made: the page says what it misses.
    return ''
  }
}
