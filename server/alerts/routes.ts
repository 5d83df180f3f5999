import * as contract from '@hivesync/contracts/oversight.ts'
import type { FastifyInstance } from 'fastify'
import { listFaults } from '../faults/faults.ts'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { acknowledgeAlert, listAlerts } from './alerts.ts'

export function alertRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.listAlerts, ({ query }) => listAlerts(ctx, query))
  serve(app, contract.acknowledgeAlert, ({ actor, params }) => acknowledgeAlert(ctx, actor, params.alertId))
  serve(app, contract.listFaults, async () => ({ items: await listFaults(ctx) }))
}
