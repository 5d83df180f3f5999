import * as jobs from '@hivesync/contracts/jobs.ts'
import type { HttpClient } from './client.ts'
import type { JobRecord } from './records.ts'
import type { Tenants } from './tenants.ts'

/** Lists every project through the API; answers what differs from the rows: a job that is missing, is too much, or is shown in another state. */
export async function compareWithApi(
  http: HttpClient,
  tenants: Tenants,
  records: ReadonlyMap<string, JobRecord>,
): Promise<string[]> {
  const shown = new Map<string, string>()
  for (const { id } of tenants.projects)
    for (const job of await listAll(http, tenants.apiKey, id)) shown.set(job.id, job.state)
  const missing = [...records.values()].filter(({ id, state }) => shown.get(id) !== state)
  return [
    ...missing.map(({ id, state }) => `${id} is ${state}, but shown as ${shown.get(id)}`),
    ...[...shown.keys()].filter((id) => !records.has(id)).map((id) => `${id} is shown, but not there`),
  ]
}

async function listAll(http: HttpClient, apiKey: string, projectId: string): Promise<{ id: string; state: string }[]> {
  const all: { id: string; state: string }[] = []
  const path = jobs.listJobs.path.replace(':projectId', projectId)
  for (let cursor: string | null = ''; cursor !== null; ) {
    const target = `${path}?limit=200${cursor === '' ? '' : `&cursor=${cursor}`}`
    const { status, body } = await http.send({ method: 'GET', target, headers: { authorization: `Bearer ${apiKey}` } })
    if (status !== 200) throw new Error(`jobs cannot be listed: ${status} ${JSON.stringify(body)}`)
    const page = body as { items: { id: string; state: string }[]; nextCursor: string | null }
    all.push(...page.items)
    cursor = page.nextCursor
  }
  return all
}
