import type { IndexedFile } from '@hivesync/contracts/worker-protocol.ts'

/** Half of what uploadIndex accepts (16 MiB), so that no rounding matters. */
const maxBatchBytes = 8 * 1024 * 1024
const maxBatchFiles = 2000
/** contracts/worker-protocol.ts, IndexedFile. */
const maxPathLength = 4096
const maxTextLength = 2 * 1024 * 1024
const maxLanguageLength = 40

export interface IndexUpload {
  add(files: readonly IndexedFile[]): Promise<void>
  /** Sends what is left; answers how many files were sent and how many the contract has no room for. */
  finish(): Promise<{ files: number; refused: number }>
}

/** Groups files into numbered batches of at most 8 MiB of JSON or 2000 files; each is sent before more is taken, so that memory stays bounded. */
export function createIndexUpload(send: (batch: number, files: IndexedFile[]) => Promise<void>): IndexUpload {
  let files: IndexedFile[] = []
  let bytes = 0
  let batch = 0
  const counts = { files: 0, refused: 0 }

  async function flush(): Promise<void> {
    if (files.length === 0) return
    const full = files
    files = []
    bytes = 0
    await send(batch, full)
    batch += 1
    counts.files += full.length
  }

  return {
    async add(more) {
      for (const file of more) {
        if (file.path.length > maxPathLength || file.text.length > maxTextLength || file.path === '') {
          counts.refused += 1
          continue
        }
        const entry = { path: file.path, language: file.language?.slice(0, maxLanguageLength) ?? null, text: file.text }
        const size = Buffer.byteLength(JSON.stringify(entry)) + 1
        if (files.length >= maxBatchFiles || bytes + size > maxBatchBytes) await flush()
        files.push(entry)
        bytes += size
      }
    },
    async finish() {
      await flush()
      return counts
    },
  }
}
