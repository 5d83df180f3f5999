import { sql } from 'kysely'
import { randomToken } from '../crypto/hash.ts'
import { DatabaseError } from './database-error.ts'
import type { Database, Db } from './db.ts'
import { withLock } from './dialect.ts'

/** What a server may read and add to, and never change: the audit log, and which migrations were applied. */
const appendOnlyTables = [
  'audit_events',
  'audit_leaves',
  'audit_nodes',
  'audit_checkpoints',
  'audit_keys',
  // A view: what is done through it to the tables below is done with its owner's rights.
  'audit_entries',
] as const
const readOnlyTables = ['migrations'] as const

export interface RuntimeRole {
  name: string
  /** Of a role that was made just now; nobody can see it again. */
  password: string | null
}

/**
 * Makes the PostgreSQL role that a server is to run as, unless it is there, and gives it exactly its rights (ASVS 5.0 13.2.2): no changes to the schema, none
 * to what is recorded. To be called as the owner of the tables. Throws a DatabaseError for a role that could pass the rights by.
 */
export async function ensureRuntimeRole(database: Database, name: string): Promise<RuntimeRole> {
  requireName(name)
  return database.transaction(async (tx) => {
    await withLock(tx, 'runtime-role')
    const { rows } = await sql`select 1 from pg_roles where rolname = ${name}`.execute(tx)
    const password = rows.length === 0 ? randomToken(24) : null
    if (password !== null)
      await sql`create role ${sql.id(name)} login password ${sql.lit(password)} nosuperuser nocreatedb nocreaterole`.execute(
        tx,
      )
    await grantRuntimeRights(tx, name)
    return { name, password }
  })
}

/** Gives the role its rights on the tables as they are now; what a migration has made since is among them. */
export async function grantRuntimeRights(tx: Db, name: string): Promise<void> {
  requireName(name)
  await requireHarmless(tx, name)
  const { rows } = await sql<{ schema: string }>`select current_schema() as schema`.execute(tx)
  const schema = sql.id(rows[0]?.schema ?? 'public')
  const role = sql.id(name)
  const tables = (names: readonly string[]) => sql.join(names.map((table) => sql.id(table)))
  const statements = [
    sql`revoke all on all tables in schema ${schema} from ${role}`,
    sql`revoke create on schema ${schema} from ${role}`,
    sql`grant usage on schema ${schema} to ${role}`,
    sql`grant select, insert, update, delete on all tables in schema ${schema} to ${role}`,
    sql`grant usage, select on all sequences in schema ${schema} to ${role}`,
    sql`revoke update, delete on ${tables(appendOnlyTables)} from ${role}`,
    sql`revoke insert, update, delete on ${tables(readOnlyTables)} from ${role}`,
  ]
  for (const statement of statements) await statement.execute(tx)
}

/** A role that owns the tables, is above all rights, or belongs to one that is, would be held by none of this. */
async function requireHarmless(tx: Db, name: string): Promise<void> {
  const { rows } = await sql<{ problem: string }>`
    select 'is a superuser' as problem from pg_roles where rolname = ${name} and rolsuper
    union all select 'may make roles' from pg_roles where rolname = ${name} and rolcreaterole
    union all select 'belongs to the owner of the tables' from pg_tables
      where schemaname = current_schema() and tablename = 'audit_events' and pg_has_role(${name}, tableowner, 'member')`.execute(
    tx,
  )
  const [found] = rows
  if (found !== undefined)
    throw new DatabaseError('role_refused', `the role ${name} ${found.problem}: no right could be kept from it`)
}

/** Quoted names could hold anything; these need no thought anywhere. */
function requireName(name: string): void {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name))
    throw new DatabaseError('role_refused', 'the name of a role has lower case letters, digits and underscores')
}

/** Whether the database would let this connection change or remove what the audit log holds. On SQLite there is nobody who could forbid it. */
export async function mayChangeAuditTables(database: Database): Promise<boolean> {
  if (database.dialect === 'sqlite') return true
  const names = appendOnlyTables.map((table) => sql`has_table_privilege(${table}, 'update, delete, truncate')`)
  const { rows } = await sql<{ may: number }>`select ${sql.join(names, sql` or `)} as may`.execute(database.kysely)
  return rows[0]?.may !== 0
}
