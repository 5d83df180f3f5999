// How a person signs in: passkeys, authenticator app, recovery codes, external sign-ins.
import { link, unlink } from './link.js'
import { knowsPasskeys, makePasskey, tooOld } from './passkey.js'
import { askWithProof } from './prove.js'
import { fill, problemOf, show, until } from './screen.js'
import { ask, Refusal } from './server.js'
import { asPerson, leave } from './session.js'
import { signIn } from './sign-in.js'

const title = 'How you sign in'

export async function tendPasskeys(_value, arrival) {
  const user = await signIn(
    { title, text: 'Sign in to see your passkeys and second factors, and to change them.', path: '/account/passkeys' },
    arrival,
  )
  let problem = knowsPasskeys ? undefined : tooOld
  for (;;) {
    const next = await choose(user, await readWays(), problem)
    problem = undefined
    if (next === 'leave') break
    try {
      await next()
    } catch (error) {
      problem = problemOf(error)
    }
  }
  await leave({ title: 'You are signed out', text: 'You can close this page.' })
}

async function readWays() {
  const { items, recoveryCodesLeft } = await asPerson('GET', '/auth/factors')
  const { provider } = await ask('GET', '/auth/external')
  const linked = (await asPerson('GET', '/auth/external/identities')).items.map((identity) => ({
    ...identity,
    kind: 'external',
    name: identity.issuer === provider?.issuer ? provider.name : identity.issuer,
  }))
  const isLinkable = provider !== null && linked.every(({ issuer }) => issuer !== provider.issuer)
  return { factors: items, recoveryCodesLeft, linked, provider: isLinkable ? provider.name : undefined }
}

/** What the person wants to do next, as a function. */
async function choose({ username }, { factors, recoveryCodesLeft, linked, provider }, problem) {
  const isBare = factors.length === 0
  const codes = `${recoveryCodesLeft} recovery ${recoveryCodesLeft === 1 ? 'code is' : 'codes are'} left.`
  const none = isBare ? 'There is no passkey and no second factor yet.' : undefined
  const screen = show('factors', { username, none, codes: isBare ? undefined : codes, provider }, problem)
  const hide = (act, isHidden) => {
    screen.querySelector(`[data-act=${act}]`).hidden = isHidden
  }
  hide(
    'totp',
    factors.some(({ kind }) => kind === 'totp'),
  )
  hide('codes', isBare)
  hide('link', provider === undefined)
  const byRow = new Map()
  for (const factor of [...factors, ...linked]) {
    const row = rowOf(factor)
    byRow.set(row, factor)
    screen.querySelector('.factors').append(row)
  }
  const factorOf = (button) => byRow.get(button.closest('li'))
  return until({
    submit: ({ name }) => {
      if (!knowsPasskeys) throw new Refusal(tooOld)
      if (name.trim() === '') throw new Refusal('Give the passkey a name first.')
      return () => add(name.trim())
    },
    totp: () => setUpTotp,
    codes: () => renewCodes,
    link: () => () => link(provider),
    rename: (button) => () => rename(factorOf(button)),
    remove: (button) => {
      const factor = factorOf(button)
      return () => (factor.kind === 'external' ? unlink(factor) : remove(factor))
    },
    leave: () => 'leave',
  })
}

const kindNames = { passkey: 'Passkey', totp: 'Authenticator app', external: 'External sign-in' }

function rowOf({ kind, name, createdAt, lastUsedAt }) {
  const day = (time) => new Date(time).toLocaleDateString()
  const what = kindNames[kind] ?? kind
  const about = `${what}, added ${day(createdAt)}, ${lastUsedAt === null ? 'never used' : `last used ${day(lastUsedAt)}`}`
  const row = fill('factor', { name, about }).querySelector('li')
  for (const button of row.querySelectorAll('button'))
    button.setAttribute('aria-label', `${button.textContent} ${name}`)
  row.querySelector('[data-act=rename]').hidden = kind !== 'passkey'
  return row
}

async function add(name) {
  const options = await askWithProof({
    method: 'POST',
    path: '/auth/passkeys/options',
    operation: 'startPasskey',
    title: 'Confirm that it is you',
    text: `Then “${name}” is added.`,
  })
  if (options === undefined) return
  show('create', { name })
  // From a press of its own: some browsers make no passkey without one.
  const made = await until({
    submit: () => makePasskey(options),
    cancel: () => 'cancelled',
  })
  if (made === 'cancelled') return
  const { recoveryCodes } = await asPerson('POST', '/auth/passkeys', JSON.stringify({ ...made, name }))
  await showCodes(recoveryCodes)
}

async function rename({ id, name }) {
  show('rename').querySelector('#name').value = name
  await until({
    submit: async ({ name: wanted }) =>
      asPerson('PATCH', `/auth/passkeys/${id}`, JSON.stringify({ name: wanted.trim() })),
    cancel: () => true,
  })
}

async function remove({ id, kind, name }) {
  const isTotp = kind === 'totp'
  await askWithProof({
    method: 'DELETE',
    path: isTotp ? '/auth/totp' : `/auth/passkeys/${id}`,
    operation: isTotp ? 'removeTotp' : 'removePasskey',
    params: isTotp ? undefined : { factorId: id },
    title: `Remove “${name}”?`,
    text: 'Confirm that it is you. It opens nothing after that.',
  })
}

async function setUpTotp() {
  const started = await askWithProof({
    method: 'POST',
    path: '/auth/totp',
    operation: 'startTotp',
    body: {},
    title: 'Confirm that it is you',
    text: 'Then an authenticator app is set up.',
  })
  if (started === undefined) return
  const screen = show('totp', { secret: started.secret.replace(/(.{4})(?=.)/g, '$1 ') })
  screen.querySelector('[data-link=uri]').href = started.uri
  const confirmed = await until({
    submit: ({ code }) => asPerson('POST', '/auth/totp/confirm', JSON.stringify({ code })),
    cancel: () => ({ recoveryCodes: null }),
  })
  await showCodes(confirmed.recoveryCodes)
}

async function renewCodes() {
  const renewed = await askWithProof({
    method: 'POST',
    path: '/auth/recovery-codes',
    operation: 'renewRecoveryCodes',
    title: 'Make new recovery codes?',
    text: 'Confirm that it is you. The old ones open nothing after that.',
  })
  await showCodes(renewed?.recoveryCodes)
}

/** Null or undefined where there are no new ones. */
async function showCodes(recoveryCodes) {
  if (recoveryCodes == null) return
  const codes = recoveryCodes.join('\n')
  const screen = show('recovery-codes', { codes, copied: '' })
  await until({
    submit: () => true,
    copy: async () => {
      await navigator.clipboard.writeText(codes)
      screen.querySelector('[data-text=copied]').textContent = 'Copied.'
    },
  })
}
