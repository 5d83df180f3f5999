import * as contract from '@hivesync/contracts/audit.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve, serveRaw } from '../platform/http/serve.ts'
import { exportAudit, exportAuditLog } from './export.ts'
import { getCheckpoint, proveConsistency, proveInclusion } from './proofs.ts'
import { readAudit } from './read.ts'

export function auditRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.listAudit, ({ actor, query }) => readAudit(ctx, actor, query))
  serve(app, contract.getAuditCheckpoint, () => getCheckpoint(ctx))
  serve(app, contract.getAuditProof, ({ actor, query }) => proveInclusion(ctx, actor, query))
  serve(app, contract.getAuditConsistency, ({ query }) => proveConsistency(ctx, query))
  serveRaw(app, contract.exportAudit, async ({ actor, query }, request, reply) => {
    const stream = await exportAudit(ctx, actor, query, async () => {
      await request.revalidate()
      return request.actor
    })
    const isCsv = query.format !== 'jsonl'
    return reply
      .header('content-disposition', `attachment; filename="audit.${isCsv ? 'csv' : 'jsonl'}"`)
      .type(isCsv ? 'text/csv; charset=utf-8; header=present' : 'application/jsonl; charset=utf-8')
      .send(stream)
  })
  serveRaw(app, contract.exportAuditLog, async ({ actor }, request, reply) => {
    const stream = await exportAuditLog(ctx, actor, () => request.revalidate())
    return reply
      .header('content-disposition', 'attachment; filename="audit-log.jsonl"')
      .type('application/jsonl; charset=utf-8')
      .send(stream)
  })
}
