import * as contract from '@hivesync/contracts/oversight.ts'
import type { FastifyInstance } from 'fastify'
import { readEnvironment } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { readPosture } from './posture.ts'
import { listSettings } from './settings.ts'

export function postureRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.getPosture, async () => ({ items: await readPosture(ctx) }))
  serve(app, contract.listSettings, async () => ({ items: listSettings(readEnvironment()) }))
}
