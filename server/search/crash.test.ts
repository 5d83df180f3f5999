import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { onEachDatabase } from '../platform/db/test-databases.ts'
import { batchOf, name, openContext } from './crashing-ingest.ts'
import { closeIndexes, prepareIndex, receiveFiles, sweepIndexes } from './search.ts'

const program = fileURLToPath(new URL('./crashing-ingest.ts', import.meta.url))

describe('a server killed between two batches', () => {
  onEachDatabase((_open, { createUrl }) => {
    test('keeps the first; both can be sent again and are there once; nobody else having them, they are swept', async () => {
      const dataDir = await mkdtemp(join(tmpdir(), 'hivesync-crash-'))
      const databaseUrl = await createUrl()
      const child = spawn(process.execPath, [program, databaseUrl, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      child.kill('SIGKILL')
      await once(child, 'exit')

      const ctx = await openContext(databaseUrl, dataDir)
      try {
        const bytesOf = (batch: number) => batchOf(batch).reduce((sum, file) => sum + file.text.length, 0)
        for (const batch of [0, 1]) await receiveFiles(ctx, { ...name, batch, files: batchOf(batch) })
        assert.deepEqual(await prepareIndex(ctx, name), { files: 4000, bytes: bytesOf(0) + bytesOf(1) })
        assert.equal(await sweepIndexes(ctx), 1)
      } finally {
        await closeIndexes(ctx)
        await ctx.db.close()
        await rm(dataDir, { recursive: true })
      }
    })
  })
})
