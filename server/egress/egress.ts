import type { Egress } from '@hivesync/contracts/egress.ts'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { withLock } from '../platform/db/dialect.ts'
import { AppError } from '../platform/errors.ts'
import { requireProject } from '../projects/projects.ts'
import { deleteHosts, insertHosts, listHosts } from './queries.ts'

/** What the network of one job may cost: a large tree of packages fits, a mirror of the internet does not. */
const limits = { maxBytes: 1024 * 1024 * 1024, maxSeconds: 900 }

export async function getEgress(ctx: Context, actor: Actor, projectId: string): Promise<Egress> {
  await requireProject(ctx.db.kysely, actor, projectId, 'projects:read')
  return { hosts: await hostsOf(ctx.db.kysely, projectId) }
}

/** Replaces the whole list; what changed is audited by name. A job that is claimed from now on hears of it. */
export async function setEgress(
  ctx: Context,
  actor: Actor,
  projectId: string,
  hosts: readonly string[],
): Promise<Egress> {
  requireNarrow(hosts)
  return ctx.db.transaction(async (tx) => {
    // Two lists at once: the later one is the whole list, never both together.
    await withLock(tx, `egress:${projectId}`)
    const project = await requireProject(tx, actor, projectId, 'projects:write')
    const before = await hostsOf(tx, projectId)
    const removed = before.filter((host) => !hosts.includes(host))
    const added = hosts.filter((host) => !before.includes(host))
    if (removed.length + added.length > 0) {
      const addedAt = ctx.clock.now()
      await deleteHosts(tx, projectId, removed)
      await insertHosts(
        tx,
        added.map((host) => ({ projectId, host, addedBy: actor.userId, addedAt })),
      )
      await recordAudit(ctx, tx, actor, {
        action: 'project.egress_changed',
        target: { kind: 'project', id: projectId },
        teamId: project.teamId,
        projectId,
        details: { added: shorten(added), removed: shorten(removed), hosts: hosts.length },
      })
    }
    return { hosts: [...hosts].sort() }
  })
}

/** What claimed jobs of these projects are told of the network they may use; each project has an answer, an empty list too. */
export async function egressOf(
  tx: Db,
  projectIds: readonly string[],
): Promise<Map<string, NonNullable<Claim['egress']>>> {
  const answers = new Map(projectIds.map((id) => [id, { hosts: [] as string[], ...limits }]))
  if (answers.size === 0) return answers
  for (const { projectId, host } of await listHosts(tx, [...answers.keys()])) answers.get(projectId)?.hosts.push(host)
  return answers
}

async function hostsOf(db: Db, projectId: string): Promise<string[]> {
  return (await listHosts(db, [projectId])).map(({ host }) => host)
}

/** Second levels under which registries of countries hand out names to anybody. */
const registryLevels = new Set(['ac', 'co', 'com', 'edu', 'go', 'gob', 'gov', 'mil', 'ne', 'net', 'nom', 'or', 'org'])

// A wildcard means names of one owner; below a public suffix such as co.uk there are everybody's.
function requireNarrow(hosts: readonly string[]): void {
  const fields = hosts.flatMap((host, index) => {
    if (!host.startsWith('*.')) return []
    const [second = '', first = '', ...more] = host.slice(2).split('.')
    const isSuffix = more.length === 0 && first.length === 2 && registryLevels.has(second)
    return isSuffix ? [{ path: `body/hosts/${index}`, message: 'must not stand for names of many owners' }] : []
  })
  if (fields.length > 0) throw new AppError('invalid_request', {}, { fields })
}

const maxAuditedLength = 500

function shorten(hosts: readonly string[]): string {
  const text = hosts.join(' ')
  return text.length <= maxAuditedLength ? text : `${text.slice(0, maxAuditedLength - 1)}…`
}
