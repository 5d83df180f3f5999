// The token travels in the fragment, which browsers send to nobody, and leaves the address bar and the history at once.
const form = document.getElementById('form')
const problem = document.getElementById('problem')
const submit = document.getElementById('submit')
form.elements.setupToken.value = location.hash.slice(1)
history.replaceState(null, '', location.pathname)

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  problem.hidden = true
  submit.disabled = true
  try {
    const { user } = await setUp(Object.fromEntries(new FormData(form)))
    form.hidden = true
    document.getElementById('who').textContent = user.username
    document.getElementById('next').textContent =
      `npx hivesync login --server ${location.origin}\nnpx hivesync project new demo`
    document.getElementById('done').hidden = false
  } catch (error) {
    problem.textContent = error.message
    problem.hidden = false
  } finally {
    submit.disabled = false
  }
})

async function setUp(body) {
  const headers = { 'content-type': 'application/json' }
  const reply = await fetch('/api/v1/setup', {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
    credentials: 'omit',
  }).catch(() => {
    throw new Error('The server does not answer.')
  })
  const answer = await reply.json()
  if (reply.ok) return answer
  const reasons = (answer.fields ?? []).map(({ path, message }) => `${path.split('/').at(-1)} ${message}`)
  throw new Error([`${answer.title}.`, ...reasons].join(' '))
}
