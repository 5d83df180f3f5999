import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import type { completeLease } from '@hivesync/contracts/worker-protocol.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import type { LeaseRow } from './queries.ts'

const maxNamesLength = 500

/** One audit row for all that a job was refused on the network, however often it tried: the names, and how many requests. */
export async function auditRefusedEgress(
  ctx: Context,
  tx: Db,
  actor: Actor,
  lease: LeaseRow,
  refused: NonNullable<BodyOf<typeof completeLease>['egressRefused']>,
): Promise<void> {
  const places = [...new Set(refused.map(({ host, port }) => (host === '' ? '(unnamed)' : `${host}:${port}`)))]
  const names = places.join(' ')
  await recordAudit(ctx, tx, actor, {
    action: 'job.egress_refused',
    outcome: 'refused',
    target: { kind: 'job', id: lease.jobId },
    teamId: lease.teamId,
    projectId: lease.projectId,
    details: {
      hosts: names.length <= maxNamesLength ? names : `${names.slice(0, maxNamesLength - 1)}…`,
      reasons: [...new Set(refused.map(({ reason }) => reason))].slice(0, 10).join(' '),
      requests: refused.reduce((sum, { count }) => sum + count, 0),
    },
  })
}
