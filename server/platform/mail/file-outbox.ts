import { mkdir, open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Deliver, Message } from './message.ts'

/**
 * Writes each mail to a file of its own that only its owner can read, whole or not at all, and outliving a power cut. A mail that is
 * delivered twice is one file: its name is the mail's.
 */
export function openFileOutbox(folder: string): Deliver {
  return async (message) => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const name = `${fileTime(message)}-${message.id}.eml`
    const draft = join(folder, `.${message.id}.new`)
    const file = await open(draft, 'w', 0o600)
    try {
      await file.writeFile(message.bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, join(folder, name))
    const directory = await open(folder, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
    return name
  }
}

/** Sorts as it happened: 20260101T120000Z. */
function fileTime({ createdAt }: Message): string {
  return new Date(createdAt).toISOString().replace(/[-:]|\.\d+/g, '')
}
