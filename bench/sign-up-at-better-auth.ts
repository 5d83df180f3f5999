const person = { name: 'Queen', email: 'queen@example.net', password: 'violet amber wings hum at dusk' }
const path = '/api/auth/get-session'

/**
 * Makes an account at better-auth by email address and password, as its guide does, and answers the read with the cookies of its session.
 * Throws when the cookie cache is wanted and not handed out, for then it is not what would be measured.
 */
export async function signUpAtBetterAuth(
  url: string,
  wantsCache: boolean,
): Promise<{ path: string; headers: { cookie: string } }> {
  const response = await fetch(new URL('/api/auth/sign-up/email', url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: url },
    body: JSON.stringify(person),
  })
  if (!response.ok) throw new Error(`better-auth answered ${response.status}: ${await response.text()}`)
  const cookies = response.headers.getSetCookie().map((cookie) => cookie.split(';', 1)[0] ?? '')
  const isCached = cookies.some((cookie) => cookie.startsWith('better-auth.session_data='))
  if (isCached !== wantsCache) throw new Error(`better-auth's cookie cache is ${isCached ? 'on' : 'off'}`)
  return { path, headers: { cookie: cookies.join('; ') } }
}
