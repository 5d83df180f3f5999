import { pack } from 'tar-stream'

/** The input files of a job as one tar stream, for the job itself to unpack inside: they never touch the worker's own disk. */
export async function packFiles(files: readonly { path: string; content: string }[]): Promise<Buffer> {
  const archive = pack()
  for (const { path, content } of files) {
    archive.entry({ name: path, mode: 0o644, mtime: new Date(0) }, Buffer.from(content))
  }
  archive.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
