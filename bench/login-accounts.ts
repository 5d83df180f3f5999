import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { hash as bcryptHash } from '@node-rs/bcrypt'
import { runSql } from './databases.ts'
import { plainEnvironment, root } from './processes.ts'
import { type BenchServer, password, registerAccounts, signInAdmin, startServer } from './server.ts'

/** The least that ASVS 5.0 appendix C lets pass. A costlier one would lengthen every login and with it, in ms, the 2 % that are allowed. */
const bcryptCost = 10

/** Every kind of account that a login can name, and what it is made of: a copy of the template, with these columns. */
export const accountKinds = {
  usual: { template: 'drone-0', columns: {} },
  deactivated: { template: 'drone-0', columns: { deactivated_at: 'created_at' } },
  passwordless: { template: 'drone-0', columns: { password_hash: 'null' } },
  disabled: { template: 'drone-0', columns: { password_failures: '100', password_disabled_at: 'created_at' } },
  bcrypt: { template: 'import-bcrypt', columns: {} },
  sha256: { template: 'import-sha256', columns: {} },
} as const
export type AccountKind = keyof typeof accountKinds

/** The username of the account with this number, of a kind or of nobody; all have the same length. */
export function nameOf(kind: AccountKind | 'nobody', index: number): string {
  return `${kind.padEnd(12, '-')}-${String(index).padStart(6, '0')}`
}

/**
 * Fills a new data folder with `count` accounts of every kind. Only the templates are made the real way, by registration and by
 * `hivesync admin import-users`; the copies are made by SQL while no server runs, since hashing thousands of passwords would take longer than the bench.
 */
export async function prepareAccounts(folder: string, count: number): Promise<void> {
  const server = await startServer({ folder, env: { HIVESYNC_REGISTRATION: 'open' } })
  try {
    const admin = await signInAdmin(server)
    admin.client.close()
    await registerAccounts(server, 1)
  } finally {
    await server.stop()
  }
  await importLegacy(folder, server)
  for (const kind of Object.keys(accountKinds) as AccountKind[]) await copy(server.databaseUrl, kind, count)
}

async function importLegacy(folder: string, { databaseUrl }: BenchServer): Promise<void> {
  const people = [
    { username: 'import-bcrypt', passwordHash: await bcryptHash(password, bcryptCost) },
    { username: 'import-sha256', passwordHash: createHash('sha256').update(password).digest('hex') },
  ]
  const file = join(folder, 'users.jsonl')
  const lines = people.map((person) => JSON.stringify({ ...person, email: `${person.username}@example.net` }))
  await writeFile(file, `${lines.join('\n')}\n`)
  const env = { ...plainEnvironment, HIVESYNC_DATA: folder, HIVESYNC_DATABASE_URL: databaseUrl }
  const args = [join('bin', 'hivesync.ts'), 'admin', 'import-users', file]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root, env })
  const [row] = await runSql(databaseUrl, `select count(*) as count from users where username like 'import-%'`)
  if (row?.count !== people.length) throw new Error(`not everybody was imported: ${stdout}${stderr}`)
}

async function copy(databaseUrl: string, kind: AccountKind, count: number): Promise<void> {
  const { template, columns } = accountKinds[kind]
  const name = `'${kind.padEnd(12, '-')}-' || printf('%06d', i)`
  // The last group of the UUID, of which no other account has the first half.
  const id = `substr(id, 1, 24) || printf('%06x%06x', ${Object.keys(accountKinds).indexOf(kind)}, i)`
  const email = `${name} || '@example.net'`
  const changed: Record<string, string> = {
    id,
    username: name,
    username_key: name,
    email,
    email_key: email,
    ...columns,
  }
  const names = (await runSql(databaseUrl, `select name from pragma_table_info('users')`)).map((row) =>
    String(row.name),
  )
  const values = names.map((column) => changed[column] ?? column)
  await runSql(
    databaseUrl,
    `insert into users (${names.join(', ')})
     with recursive numbers (i) as (select 0 union all select i + 1 from numbers where i + 1 < ${count})
     select ${values.join(', ')} from users, numbers where username_key = '${template}'`,
  )
}
