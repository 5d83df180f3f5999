// The opponent of P1, in a process of its own: better-auth on SQLite as its guide sets it up, served by node:http.
// Arguments: the database file, and `cached` for sessions that are also kept in a signed cookie and not looked up while it is fresh.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { toNodeHandler } from 'better-auth/node'

const [file = ':memory:', mode] = process.argv.slice(2)
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

const database = new DatabaseSync(file)
database.exec('pragma journal_mode = wal')
const auth = betterAuth({
  baseURL: url,
  secret: 'R8tq2Zx5Lw9Kc3Nv7Bm1Jp6Hd4Gf0Sy8',
  database,
  emailAndPassword: { enabled: true },
  // Longer than the bench runs: the cookie is never renewed while it is measured.
  session: { cookieCache: { enabled: mode === 'cached', maxAge: 3600 } },
  // Ours is scaled so far that it never refuses; its own would refuse after 100 requests.
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
})
const { runMigrations } = await getMigrations(auth.options)
await runMigrations()
server.on('request', toNodeHandler(auth))

process.stdout.write(`${JSON.stringify({ event: 'listening', url })}\n`)
process.on('disconnect', () => process.exit())
