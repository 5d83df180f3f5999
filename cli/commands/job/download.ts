import { type Artifact, createArtifactUrl, listArtifacts } from '@hivesync/contracts/artifacts.ts'
import { listAll } from '@hivesync/sdk'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { CliError } from '../../failure.ts'
import { receiveFile, requireAbsent } from '../../receive-file.ts'

export const download = defineCommand({
  name: 'job download',
  summary: 'fetch the files that a job left behind',
  usage: 'JOB-ID [PATH…]',
  notes: [
    'All files of the newest attempt that left any, or those named: a path, or a folder with all below it.',
    'Each file’s digest is verified. Nothing is written outside the folder, and nothing there is replaced without --force.',
  ],
  options: {
    output: { type: 'string', short: 'o', value: 'FOLDER', summary: 'where to put them; this folder unless given' },
    force: { type: 'boolean', summary: 'replace files that are there' },
  },
  arguments: [1, 1000],
  async run(context) {
    const { client } = await connect(context)
    const [jobId = '', ...named] = context.arguments
    const { output: folder = '.', force } = context.options
    const { items } = await listAll((cursor) =>
      client.call(listArtifacts, { params: { jobId }, query: { limit: '200', cursor } }),
    )
    const wanted = choose(items, named)
    if (!force) for (const { path } of wanted) await requireAbsent(folder, path)
    const files = []
    for (const artifact of wanted) {
      const { url } = await client.call(createArtifactUrl, { params: { artifactId: artifact.id } })
      const { body } = await client.openLink(url)
      const file = await receiveFile(folder, artifact, body ?? new Blob([]).stream(), { force })
      files.push({ path: artifact.path, file, bytes: artifact.bytes, sha256: artifact.sha256 })
    }
    if (files.length === 0) await context.terminal.note('No files.')
    return { json: { files }, lines: files.map(({ file }) => file) }
  },
})

function choose(items: readonly Artifact[], named: readonly string[]): Artifact[] {
  const newest = Math.max(...items.map(({ attempt }) => attempt))
  const offered = items.filter(({ attempt }) => attempt === newest)
  if (named.length === 0) return offered
  const isMeant = (path: string, name: string): boolean =>
    path === name || path.startsWith(`${name.replace(/\/+$/, '')}/`)
  const missing = named.find((name) => !offered.some(({ path }) => isMeant(path, name)))
  if (missing !== undefined)
    throw new CliError(
      'artifact_not_found',
      'notFound',
      `The job left no ${missing}`,
      'See: hivesync job artifacts JOB-ID',
    )
  return offered.filter(({ path }) => named.some((name) => isMeant(path, name)))
}
