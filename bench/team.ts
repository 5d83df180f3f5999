import { submitJob } from '@hivesync/contracts/jobs.ts'
import { createProject } from '@hivesync/contracts/projects.ts'
import { createTeam } from '@hivesync/contracts/teams.ts'
import { runSql } from './databases.ts'
import type { Api, BenchServer } from './server.ts'

export interface BenchTeam {
  teamId: string
  projectId: string
  /** Submits a job that any worker of the bench takes; answers its id. */
  submit(): Promise<string>
}

/** A team on the largest plan, raised by SQL before its first job, with one project. */
export async function createBenchTeam(server: BenchServer, api: Api, name: string): Promise<BenchTeam> {
  const { id: teamId } = await api.call<{ id: string }>('POST', createTeam.path, { name }, createTeam.status)
  await runSql(server.databaseUrl, `update teams set tier = 'enterprise' where id = '${teamId}'`)
  const project = { name: 'bench', teamId }
  const { id: projectId } = await api.call<{ id: string }>('POST', createProject.path, project, createProject.status)
  const target = submitJob.path.replace(':projectId', projectId)
  const job = { kind: 'compute', input: { command: ['true'] } }
  return {
    teamId,
    projectId,
    submit: async () => (await api.call<{ id: string }>('POST', target, job, submitJob.status)).id,
  }
}

/** Column names of a table, on either database. */
export async function columnsOf(databaseUrl: string, table: string): Promise<string[]> {
  const sql = databaseUrl.startsWith('sqlite:')
    ? `select name from pragma_table_info('${table}')`
    : `select column_name as name from information_schema.columns where table_name = '${table}' and table_schema = 'public'`
  return (await runSql(databaseUrl, sql)).map((row) => String(row.name))
}

/**
 * Queues `count` copies of a queued job by SQL, with what counts them: a million submissions would take longer than the bench. The copies differ from it by
 * the last group of their UUIDs alone, which lets them follow it in the queue.
 */
export async function copyQueued(databaseUrl: string, jobId: string, count: number): Promise<void> {
  const isSqlite = databaseUrl.startsWith('sqlite:')
  const number = isSqlite ? `printf('%012x', i)` : `lpad(to_hex(i), 12, '0')`
  const numbers = isSqlite
    ? `with recursive numbers (i) as (select 1 union all select i + 1 from numbers where i < ${count}) `
    : `with numbers (i) as (select * from generate_series(1, ${count})) `
  for (const [table, key] of [
    ['jobs', 'id'],
    ['job_queue', 'job_id'],
  ] as const) {
    const columns = await columnsOf(databaseUrl, table)
    const values = columns.map((column) => (column === key ? `substr(${key}, 1, 24) || ${number}` : column))
    const rows = `select ${values.join(', ')} from ${table}, numbers where ${key} = '${jobId}'`
    await runSql(
      databaseUrl,
      // PostgreSQL wants the common table expression in front of the insert, SQLite takes it there too.
      `${numbers}insert into ${table} (${columns.join(', ')}) ${rows}`,
    )
  }
  const own = `(select project_id from jobs where id = '${jobId}')`
  await runSql(
    databaseUrl,
    `update queue_counters set waiting = waiting + ${count}, max_waiting = max_waiting + ${count} where project_id = ${own}`,
  )
  await runSql(
    databaseUrl,
    `update team_shares set waiting = waiting + ${count} where team_id = (select team_id from jobs where id = '${jobId}')`,
  )
}
