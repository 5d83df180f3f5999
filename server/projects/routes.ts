import * as contract from '@hivesync/contracts/projects.ts'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../platform/context.ts'
import { serve } from '../platform/http/serve.ts'
import { addProjectMember, changeProjectMember, listProjectMembers, removeProjectMember } from './members.ts'
import { createProject, getProject, listProjects, updateProject } from './projects.ts'

export function projectRoutes(app: FastifyInstance, ctx: Context): void {
  serve(app, contract.createProject, ({ actor, body }) => createProject(ctx, actor, body))
  serve(app, contract.listProjects, ({ actor, query }) => listProjects(ctx, actor, query))
  serve(app, contract.getProject, ({ actor, params }) => getProject(ctx, actor, params.projectId))
  serve(app, contract.updateProject, ({ actor, params, body }) => updateProject(ctx, actor, params.projectId, body))
  serve(app, contract.listProjectMembers, ({ actor, params, query }) =>
    listProjectMembers(ctx, actor, params.projectId, query),
  )
  serve(app, contract.addProjectMember, ({ actor, params, body }) =>
    addProjectMember(ctx, actor, params.projectId, body),
  )
  serve(app, contract.changeProjectMember, ({ actor, params, body }) =>
    changeProjectMember(ctx, actor, params.projectId, params.userId, body.role),
  )
  serve(app, contract.removeProjectMember, async ({ actor, params }) => {
    await removeProjectMember(ctx, actor, params.projectId, params.userId)
    return undefined
  })
}
