// The external sign-ins that open the account. The provider is visited in a window of its own: this one holds the session in memory alone.
import { listenFor, readAnswer } from './external.js'
import { askWithProof } from './prove.js'
import { show, until } from './screen.js'
import { Refusal } from './server.js'
import { asPerson } from './session.js'

export async function link(provider) {
  const flow = await askWithProof({
    method: 'POST',
    path: '/auth/external/link/start',
    operation: 'startExternalLink',
    title: 'Confirm that it is you',
    text: `Then whoever you are at ${provider} is linked to this account, and can sign in to it.`,
  })
  if (flow === undefined) return
  const screen = show('link', { provider })
  screen.querySelector('[data-link=url]').href = flow.url
  let answer
  const stop = listenFor(new URL(flow.url).searchParams.get('state'), (given) => {
    answer = given
    screen.querySelector('form')?.requestSubmit()
  })
  await until({
    submit: async () => {
      if (answer === undefined) throw new Refusal(`${provider} has not sent you back yet: use the link above first.`)
      const body = JSON.stringify({ flowToken: flow.flowToken, ...readAnswer(answer) })
      return asPerson('POST', '/auth/external/link/finish', body)
    },
    cancel: () => true,
  }).finally(stop)
}

export async function unlink({ id, name }) {
  await askWithProof({
    method: 'DELETE',
    path: `/auth/external/identities/${id}`,
    operation: 'removeExternalIdentity',
    params: { externalIdentityId: id },
    title: `Unlink “${name}”?`,
    text: 'Confirm that it is you. It does not open this account after that.',
  })
}
