import * as contract from '@hivesync/contracts/search.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { searchCode } from './search.ts'

export function searchRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.searchCode, ({ actor, query }) => searchCode(ctx, actor, query))
}
