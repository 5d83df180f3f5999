import { AppError } from '../platform/errors.ts'

export interface Totals {
  files: number
  /** UTF-8 bytes of all texts. */
  bytes: number
}

/** What became of a batch. `sealed`: the index was already prepared for publication. */
export type Verdict = 'stored' | 'sealed' | 'too_many_files' | 'too_much_text'

const maxFiles = 200_000
const maxBytes = 512 * 1024 * 1024
const maxFilesPerBatch = 5000

/** Judges a batch against what its index holds already: 200,000 files and 512 MiB of text in all. */
export function judgeBatch(held: Totals, batch: Totals): Verdict {
  if (held.files + batch.files > maxFiles) return 'too_many_files'
  return held.bytes + batch.bytes > maxBytes ? 'too_much_text' : 'stored'
}

/** Refuses batches whose files could not have ids of their own. */
export function requireBatch(batch: number, files: number): void {
  // With at least one file in each, no index has more batches than files.
  if (batch >= maxFiles || files > maxFilesPerBatch) refuse('too_many_files')
}

/** Ids of a batch's files begin here: a batch sent again would take the same ids. */
export function firstFileId(batch: number): number {
  return batch * maxFilesPerBatch + 1
}

/** Turns a verdict other than `stored` into its refusal. */
export function refuse(verdict: Exclude<Verdict, 'stored'>): never {
  if (verdict === 'sealed') throw new AppError('lease_lost', {}, { detail: 'The index was already handed in' })
  const detail =
    verdict === 'too_many_files'
      ? `An index holds at most ${maxFiles} files, ${maxFilesPerBatch} in a batch`
      : `An index holds at most ${maxBytes / 1024 / 1024} MiB of text`
  throw new AppError('payload_too_large', {}, { detail })
}
