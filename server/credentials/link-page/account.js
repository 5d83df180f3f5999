// The link's secret travels in the fragment, which browsers send to nobody, and leaves the address bar and the history at once.
// Nothing is asked of the server before the button is pressed: a scanner that opens the link uses nothing up.
const [, purpose = '', token = ''] = /^#([a-z]+)=([\w-]+)$/.exec(location.hash) ?? []
history.replaceState(null, '', location.pathname)
// Who is invited may have an account: the page for that signs people in.
if (purpose === 'invitation') location.replace(`/account/invitation#${token}`)
// Another link opened in the same tab: the browser keeps the page and only says that the fragment is another.
addEventListener('hashchange', () => location.reload())

const login = `npx hivesync login --server ${location.origin}`
const acts = {
  reset: {
    path: '/api/v1/auth/password/reset',
    done: ['The password is set', 'All your sessions have ended. Sign in with the new password:', login],
  },
  verify: {
    path: '/api/v1/auth/email/verify',
    done: ['The address is confirmed', 'There is nothing more to do here.', ''],
  },
  email: {
    path: '/api/v1/auth/email/confirm',
    done: ['The address is changed', 'Mail about the account comes here from now on.', ''],
  },
  register: {
    path: '/api/v1/auth/register/confirm',
    done: ['The account is there', 'Sign in with the password you chose:', login],
  },
}

const act = Object.hasOwn(acts, purpose) ? acts[purpose] : undefined
const form = document.getElementById(act === undefined ? 'nothing' : purpose)
form.hidden = purpose === 'invitation'
if (act !== undefined) form.addEventListener('submit', submit)
for (const box of document.querySelectorAll('[data-shows]')) box.addEventListener('change', show)

function show({ target }) {
  document.getElementById(target.dataset.shows).type = target.checked ? 'text' : 'password'
}

async function submit(event) {
  event.preventDefault()
  const problem = form.querySelector('.problem')
  const button = form.querySelector('button')
  problem.hidden = true
  button.disabled = true
  try {
    await send(act.path, { ...Object.fromEntries(new FormData(form)), token })
    const [title, text, next] = act.done
    // The password goes with the form.
    form.remove()
    document.getElementById('done-title').textContent = title
    document.getElementById('done-text').textContent = text
    document.getElementById('next').textContent = next
    document.getElementById('next').hidden = next === ''
    document.getElementById('done').hidden = false
    document.getElementById('done-title').focus()
  } catch (error) {
    problem.textContent = error.message
    problem.hidden = false
  } finally {
    button.disabled = false
  }
}

async function send(path, body) {
  const headers = { 'content-type': 'application/json' }
  const reply = await fetch(path, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    credentials: 'omit',
  }).catch(() => {
    throw new Error('The server does not answer.')
  })
  if (reply.ok) return
  const answer = await reply.json()
  if (answer.code === 'invalid_link') throw new Error('This link was used before or has expired: ask for another one.')
  const reasons = (answer.fields ?? []).map(({ path: where, message }) => `${where.split('/').at(-1)} ${message}`)
  throw new Error(`${answer.detail ?? [answer.title, ...reasons].join(': ')}.`)
}
