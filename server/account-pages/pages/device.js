// Lets a device in that shows a code (RFC 8628), as the person who signs in here and proves it is them.
import { askWithProof } from './prove.js'
import { problemOf, show, until } from './screen.js'
import { now, Refusal } from './server.js'
import { asPerson, leave } from './session.js'
import { signIn } from './sign-in.js'

const title = 'Let a device in'

export async function letDeviceIn(typed, arrival) {
  const code = readCode(typed) ?? (await askCode(undefined))
  const user = await signIn(
    { title, text: `For the device that shows ${code}.`, path: '/account/device', value: code },
    arrival,
  )
  return leave(await settle(code, user))
}

/** Looks up what waits with the code until it is decided; answers what to say of it. */
async function settle(typed, user) {
  let code = typed
  let problem
  for (;;) {
    try {
      const device = await asPerson('POST', '/auth/device/inspect', JSON.stringify({ userCode: code }))
      const said = await decide(code, device, user, problem)
      if (said !== undefined) return said
      problem = undefined
    } catch (error) {
      problem = problemOf(error)
      if (error.code === 'step_up_required') continue
      code = await askCode(problem)
      problem = undefined
    }
  }
}

/** As it is shown, or undefined when these are not eight letters. */
function readCode(typed) {
  const letters = typed.toUpperCase().replace(/[\s-]/g, '')
  return /^[A-Z]{8}$/.test(letters) ? `${letters.slice(0, 4)}-${letters.slice(4)}` : undefined
}

function askCode(problem) {
  show('device-code', {}, problem)
  return until({
    submit: ({ code }) => {
      const read = readCode(code)
      if (read === undefined) throw new Refusal('Enter the eight letters that the device shows.')
      return read
    },
  })
}

/** What to say when it is decided; undefined when the person turned back from proving themselves. */
async function decide(code, device, { username }, problem) {
  const texts = {
    code,
    name: device.deviceName ?? 'It gave no name',
    network: device.ip ?? 'Unknown',
    age: ageOf(device.createdAt),
    username,
  }
  show('device-decision', texts, problem)
  const body = { userCode: code }
  const choice = await until({
    submit: () => 'approve',
    deny: async () => {
      await asPerson('POST', '/auth/device/deny', JSON.stringify(body))
      return 'deny'
    },
  })
  if (choice === 'deny')
    return { title: 'The device is turned away', text: 'It gets nothing. You can close this page.' }
  const reply = await askWithProof({
    method: 'POST',
    path: '/auth/device/approve',
    operation: 'approveDeviceLogin',
    body,
    title: 'Confirm that it is you',
    text: `Then the device that shows ${code} is signed in as ${username}.`,
  })
  if (reply === undefined) return undefined
  return { title: 'The device is let in', text: 'Go on there; you can close this page.' }
}

function ageOf(createdAt) {
  const minutes = Math.floor((now() - Date.parse(createdAt)) / 60_000)
  return minutes < 1 ? 'less than a minute ago' : minutes === 1 ? 'a minute ago' : `${minutes} minutes ago`
}
