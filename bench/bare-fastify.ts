// The floor of P1, in a process of its own: a Fastify route that answers what `GET /api/v1/auth/me` answers, and does nothing else.
import { getMe, type User } from '@hivesync/contracts/accounts.ts'
import Fastify from 'fastify'

const user: User = {
  id: '01936f5e-8c4b-7a31-9d2e-5b6c7d8e9f01',
  email: 'queen@example.net',
  username: 'queen',
  isActive: true,
  isAdmin: true,
  tier: 'free',
  emailVerified: false,
  mfa: false,
  createdAt: '2026-01-05T12:00:00.000Z',
  lastLoginAt: '2026-01-05T12:00:00.000Z',
}

const app = Fastify()
app.get(getMe.path, { schema: { response: { [getMe.status]: getMe.reply } } }, async () => user)
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.stdout.write(`${JSON.stringify({ event: 'listening', url })}\n`)
process.on('disconnect', () => process.exit())
