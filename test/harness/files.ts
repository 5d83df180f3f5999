// What tests of artifacts and bundles say again and again: declare, upload, and make archives of any kind.
import { createHash } from 'node:crypto'
import * as artifacts from '@hivesync/contracts/artifacts.ts'
import * as bundles from '@hivesync/contracts/bundles.ts'
import type { Hive, TestWorker } from './hive.ts'

export const sha256Of = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')
const paramsOf = ({ token }: { token: number }) => ({ token: String(token) })

export function declare(worker: TestWorker, claim: { token: number }, files: Record<string, Uint8Array>) {
  const declared = Object.entries(files).map(([path, content]) => ({
    path,
    bytes: content.length,
    sha256: sha256Of(content),
  }))
  return worker.call(artifacts.declareArtifacts, { params: paramsOf(claim), body: { artifacts: declared } })
}

export function upload(worker: TestWorker, claim: { token: number }, artifactId: string, content: Uint8Array) {
  return worker.call(artifacts.uploadArtifact, { params: { ...paramsOf(claim), artifactId }, content })
}

/** Declares and uploads; answers the ids by path. */
export async function leave(worker: TestWorker, claim: { token: number }, files: Record<string, Uint8Array>) {
  const { artifacts: declared } = (await declare(worker, claim, files)).body
  for (const { id, path } of declared) {
    const { status } = await upload(worker, claim, id, files[path] ?? Buffer.alloc(0))
    if (status !== 204) throw new Error(`${path} was answered with ${status}`)
  }
  return new Map(declared.map(({ id, path }) => [path, id]))
}

export function bundleUp(hive: Hive, { token }: { token: string }, projectId: string, content: Uint8Array) {
  return hive.call(bundles.createBundle, { token, params: { projectId }, content })
}

/** How many bytes the team's count says; undefined before its first. */
export async function countedBytes(hive: Hive, { teamId }: { teamId: string }): Promise<number | undefined> {
  const row = await hive.ctx.db.kysely
    .selectFrom('teamStorage')
    .select('bytes')
    .where('teamId', '=', teamId)
    .executeTakeFirst()
  return row?.bytes
}

/** The keys of all that lies in the store. */
export async function storedKeys(hive: Hive): Promise<string[]> {
  const keys = []
  for await (const { key } of hive.ctx.store.list()) keys.push(key)
  return keys.sort()
}
