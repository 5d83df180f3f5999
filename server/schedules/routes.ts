import * as contract from '@hivesync/contracts/schedules.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { createSchedule, deleteSchedule, getSchedule, listSchedules, runSchedule, updateSchedule } from './schedules.ts'

export function scheduleRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.createSchedule, ({ actor, params, body }) => createSchedule(ctx, actor, params.projectId, body))
  serve(app, contract.listSchedules, ({ actor, params, query }) => listSchedules(ctx, actor, params.projectId, query))
  serve(app, contract.getSchedule, ({ actor, params }) => getSchedule(ctx, actor, params))
  serve(app, contract.updateSchedule, ({ actor, params, body }) => updateSchedule(ctx, actor, params, body))
  serve(app, contract.deleteSchedule, async ({ actor, params }) => {
    await deleteSchedule(ctx, actor, params)
    return undefined
  })
  serve(app, contract.runSchedule, ({ actor, params }) => runSchedule(ctx, actor, params))
}
