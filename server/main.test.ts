import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { startServer } from './main.ts'
import { parseConfig } from './platform/config.ts'
import { openDatabase } from './platform/db/db.ts'
import { onEachDatabase } from './platform/db/test-databases.ts'
import { createLogger } from './platform/logger.ts'

describe('a start that fails', () => {
  onEachDatabase((_open, each) => {
    test('leaves nothing open: neither database nor metrics nor timers, and the next one succeeds', async () => {
      const squatter = createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => squatter.once('listening', resolve))
      const address = squatter.address()
      assert.ok(typeof address === 'object' && address !== null)
      const folder = mkdtempSync(join(tmpdir(), 'hivesync-main-'))
      const databaseUrl = await each.createUrl()
      const start = (port: number) => {
        const env = { HIVESYNC_DATA: folder, HIVESYNC_PORT: String(port), HIVESYNC_METRICS_PORT: '0' }
        return startServer({ ...parseConfig(env), databaseUrl }, createLogger({ write: () => {} }))
      }
      try {
        await assert.rejects(start(address.port), { code: 'EADDRINUSE' })
        // On SQLite this would be refused while anybody holds the file; on both, what stayed open would keep this test from ending.
        await (await openDatabase(databaseUrl)).close()
        const server = await start(0)
        assert.equal((await fetch(`${server.url}/health`)).status, 200)
        await server.stop()
        await server.stop()
      } finally {
        squatter.close()
        rmSync(folder, { recursive: true, force: true })
      }
    })
  })
})
