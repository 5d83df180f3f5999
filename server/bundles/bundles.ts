import type { Bundle } from '@hivesync/contracts/bundles.ts'
import { recordAudit } from '../audit/audit.ts'
import type { Actor } from '../platform/actor.ts'
import { isoTime } from '../platform/clock.ts'
import type { Context } from '../platform/context.ts'
import type { Db } from '../platform/db/db.ts'
import { AppError } from '../platform/errors.ts'
import type { Upload } from '../platform/http/upload.ts'
import { type Page, pageRequest, toPage } from '../platform/page.ts'
import { requireProject } from '../projects/projects.ts'
import { discardObjects, requireRoom, returnStorage, takeStorage } from '../storage/storage.ts'
import { getPlan } from '../tiers/tiers.ts'
import {
  type BundleRow,
  deleteExpired,
  deleteRow,
  extendBundle,
  findInProject,
  insertBundle,
  isNeeded,
  listBundleRows,
  lockVisible,
} from './queries.ts'
import { type ReceivedBundle, receiveArchive, withUploadPlace } from './receive.ts'

const keptForMs = 7 * 86_400_000
/** After the time a job may wait, for the time it may run and be tried again. */
const runningMs = 86_400_000
const batch = 50

/** Takes in a project's sources as an archive; the rights to do so are asked before its first byte and again after its last. */
export async function createBundle(ctx: Context, actor: Actor, projectId: string, upload: Upload): Promise<Bundle> {
  const { teamId } = await requireOpenProject(ctx.db.kysely, actor, projectId)
  const { bundleBytes } = await getPlan(ctx.db.kysely, teamId)
  const { announcedBytes, content } = upload
  if (announcedBytes !== null && announcedBytes > bundleBytes) throw tooLarge(bundleBytes)
  await requireRoom(ctx.db.kysely, teamId, announcedBytes ?? 0)
  return withUploadPlace(ctx, teamId, async () => {
    const received = await receive(ctx, content, bundleBytes)
    try {
      return await keep(ctx, actor, projectId, received)
    } catch (error) {
      await discardObjects(ctx, [received.key])
      throw error
    }
  })
}

async function receive(ctx: Context, content: AsyncIterable<Buffer>, bundleBytes: number): Promise<ReceivedBundle> {
  try {
    return await receiveArchive(ctx, content, bundleBytes)
  } catch (error) {
    throw error instanceof AppError && error.code === 'payload_too_large' ? tooLarge(bundleBytes) : error
  }
}

function keep(ctx: Context, actor: Actor, projectId: string, received: ReceivedBundle): Promise<Bundle> {
  return ctx.db.transaction(async (tx) => {
    const { teamId } = await requireOpenProject(tx, actor, projectId)
    const { key, bytes, sha256, unpackedBytes, entries } = received
    const now = ctx.clock.now()
    const row = {
      ...{ id: ctx.random.id(), projectId, teamId, objectKey: key, bytes, unpackedBytes, entries, sha256 },
      ...{ createdByUser: actor.userId, createdAt: now, expiresAt: now + keptForMs },
    }
    await insertBundle(tx, row)
    await auditBundle(ctx, tx, actor, row, 'bundle.created')
    await takeStorage(tx, teamId, bytes)
    return toBundle(row)
  })
}

async function requireOpenProject(db: Db, actor: Actor, projectId: string) {
  const project = await requireProject(db, actor, projectId, 'jobs:write')
  if (project.archivedAt !== null) throw new AppError('project_archived', { projectId })
  return project
}

function tooLarge(bundleBytes: number): AppError {
  return new AppError('payload_too_large', {}, { detail: `The plan of the team takes bundles of ${bundleBytes} bytes` })
}

export async function listBundles(
  ctx: Context,
  actor: Actor,
  projectId: string,
  query: { limit?: string; cursor?: string },
): Promise<Page<Bundle>> {
  await requireProject(ctx.db.kysely, actor, projectId, 'jobs:read')
  const request = pageRequest(query)
  const rows = await listBundleRows(ctx.db.kysely, projectId, ctx.clock.now(), request)
  return toPage(rows, request, (row) => row.id, toBundle)
}

/** Deletes a bundle, unless a job that has not ended needs it. */
export async function deleteBundle(ctx: Context, actor: Actor, bundleId: string): Promise<void> {
  const objectKey = await ctx.db.transaction(async (tx) => {
    const bundle = await lockVisible(tx, actor, bundleId, ctx.clock.now())
    if (bundle === undefined) throw new AppError('bundle_not_found', { bundleId })
    await requireProject(tx, actor, bundle.projectId, 'jobs:write')
    if (await isNeeded(tx, bundleId)) throw new AppError('bundle_in_use', { bundleId })
    await deleteRow(tx, bundleId)
    await auditBundle(ctx, tx, actor, bundle, 'bundle.deleted')
    await returnStorage(tx, [bundle])
    return bundle.objectKey
  })
  await discardObjects(ctx, [objectKey])
}

/** Keeps a bundle for a job that is being submitted, in the same transaction; refuses one that is not the project's. While the job is open the bundle stays. */
export async function holdBundle(
  ctx: Context,
  tx: Db,
  job: { projectId: string; bundleId: string; expiresAt: number },
): Promise<void> {
  const { projectId, bundleId } = job
  const found = await extendBundle(tx, { projectId, bundleId, until: job.expiresAt + runningMs, now: ctx.clock.now() })
  if (found) return
  throw new AppError(
    'invalid_request',
    { bundleId },
    { fields: [{ path: 'body/input/bundle', message: 'is no bundle of this project' }] },
  )
}

/** The bundle that a job of this project names; undefined when it is gone. */
export function findBundle(db: Db, projectId: string, bundleId: string): Promise<BundleRow | undefined> {
  return findInProject(db, projectId, bundleId)
}

/** Removes what has expired and no open job needs; the bytes go back to the teams. */
export async function sweepBundles(ctx: Context): Promise<number> {
  const removed = await ctx.db.transaction(async (tx) => {
    const rows = await deleteExpired(tx, ctx.clock.now(), batch)
    await returnStorage(tx, rows)
    return rows
  })
  await discardObjects(
    ctx,
    removed.map(({ objectKey }) => objectKey),
  )
  return removed.length
}

type Audited = Pick<BundleRow, 'id' | 'teamId' | 'projectId' | 'bytes'>
function auditBundle(ctx: Context, tx: Db, actor: Actor, bundle: Audited, action: string): Promise<void> {
  const { id, teamId, projectId, bytes } = bundle
  return recordAudit(ctx, tx, actor, { action, target: { kind: 'bundle', id }, teamId, projectId, details: { bytes } })
}

function toBundle(row: Omit<BundleRow, 'createdByUser'>): Bundle {
  const { id, projectId, bytes, unpackedBytes, entries, sha256, createdAt, expiresAt } = row
  const times = { createdAt: isoTime(createdAt), expiresAt: isoTime(expiresAt) }
  return { id, projectId, bytes, unpackedBytes, entries, sha256, ...times }
}
