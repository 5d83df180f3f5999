import { createBundle } from '@hivesync/contracts/bundles.ts'
import type { Client } from '@hivesync/sdk'
import { packFolder } from './pack-folder.ts'
import type { Terminal } from './terminal.ts'

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const shownSkipped = 10

/** Packs a folder and uploads it as a bundle of the project; says on standard error what was left out. */
export async function uploadFolder(client: Client, terminal: Terminal, projectId: string, folder: string) {
  await using packed = await packFolder(folder)
  const bundle = await client.call(createBundle, { params: { projectId }, content: packed.archive })
  for (const { path, reason } of packed.skipped.slice(0, shownSkipped))
    await terminal.note(`Left out: ${path} ${reason}.`)
  const more = packed.skipped.length - shownSkipped
  if (more > 0) await terminal.note(`Left out: ${more} more.`)
  return { bundle, skipped: packed.skipped }
}

/** The bundle that was named: an id, or a folder, which is uploaded first. */
export async function requireBundle(
  client: Client,
  terminal: Terminal,
  projectId: string,
  named: string | undefined,
): Promise<string | undefined> {
  if (named === undefined || idPattern.test(named)) return named
  return (await uploadFolder(client, terminal, projectId, named)).bundle.id
}
