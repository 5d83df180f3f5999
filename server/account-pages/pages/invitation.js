// Takes an invitation up: by somebody who has an account, or with a new one.
import { show, until } from './screen.js'
import { post } from './server.js'
import { asPerson, leave } from './session.js'
import { signIn } from './sign-in.js'

// At localhost this page may be at another name than the server's own, which proofs of devices are made for; the command line knows that one.
const server = location.hostname === 'localhost' ? '' : ` --server ${location.origin}`
const login = `npx hivesync login${server}`

export async function takeInvitation(invitation, arrival = {}) {
  if (!/^[\w-]{1,100}$/.test(invitation)) {
    const text =
      'Open it from the mail once more, or copy all of it. A page that was opened before has forgotten its link.'
    return show('said', { title: 'This link is not whole', text })
  }
  const isBack = arrival.reply !== undefined || arrival.problem !== undefined
  const choice = isBack ? 'have' : await choose(invitation)
  if (choice === 'made')
    return show('said', { title: 'The account is there', text: 'Sign in with the password you chose:', next: login })
  const about = { title: 'You are invited', text: 'Sign in with the account that has the invited address.' }
  const user = await signIn({ ...about, path: '/account/invitation', value: invitation, invitation }, arrival)
  // An account that the provider's sign-in has just made took the invitation up with it.
  const isNew = arrival.startedAt !== undefined && Date.parse(user.createdAt) >= arrival.startedAt
  const said = isNew
    ? { title: 'The account is there', text: 'The invitation is accepted.' }
    : await accept(invitation, user)
  return leave({ ...said, next: login })
}

function choose(invitation) {
  show('invitation')
  return until({
    have: () => 'have',
    submit: async (account) => {
      await post('/auth/register', { ...account, invitation })
      return 'made'
    },
  })
}

async function accept(invitation, { username, email }) {
  const screen = show('accept', { username, email })
  return until({
    submit: async () => {
      const body = JSON.stringify({ invitation })
      const team = await asPerson('POST', '/invitations/accept', body).catch((error) => {
        screen.querySelector('[data-act=verify]').hidden = error.code !== 'email_unverified'
        throw error
      })
      return {
        title: `You are a member of ${team.name}`,
        text: 'Its projects are yours to see. Go on in the terminal:',
      }
    },
    verify: async (button) => {
      await asPerson('POST', '/auth/email/verification')
      button.textContent = 'The link is mailed: open it, then accept here'
    },
    cancel: () => ({ title: 'Not accepted', text: 'The link of the mail stays good until the invitation expires.' }),
  })
}
