// The database goes away under a server that runs, and comes back.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { openRoad } from '../../test/harness/road.ts'
import { startServer } from '../main.ts'
import { parseConfig } from '../platform/config.ts'
import { onEachDatabase } from '../platform/db/test-databases.ts'
import { createLogger } from '../platform/logger.ts'

interface Answer {
  status: number
  code: string | undefined
  retryAfter: string | null
}

describe('a server whose database goes away', () => {
  onEachDatabase((_open, each) => {
    // SQLite is a file of this machine: what can happen to it is in platform/db/outage.test.ts and test/chaos.
    const onNetwork = { skip: each.dialect === 'sqlite' ? 'SQLite is on no network' : false }

    test('lives, is not ready, refuses everything with 503, and works again by itself', onNetwork, async () => {
      const url = new URL(await each.createUrl())
      await using road = await openRoad({ host: url.hostname, port: Number(url.port || 5432) })
      url.hostname = '127.0.0.1'
      url.port = String(road.port)
      const dataDir = mkdtempSync(join(tmpdir(), 'hivesync-away-'))
      const config = {
        ...parseConfig({ HIVESYNC_DATA: dataDir, HIVESYNC_PORT: '0' }),
        databaseUrl: url.href,
        rateScale: 1000,
      }
      const server = await startServer(config, createLogger({ write: () => {} }))
      const ask = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> => {
        const reply = await fetch(server.url + path, {
          method,
          headers: { 'content-type': 'application/json', authorization: `Bearer hs_${'x'.repeat(20)}` },
          ...(body !== undefined && { body: JSON.stringify(body) }),
        })
        const { code } = (await reply.json()) as { code?: string }
        return { status: reply.status, code, retryAfter: reply.headers.get('retry-after') }
      }
      const logIn = () =>
        ask('POST', '/api/v1/auth/login', { login: 'queen', password: 'nine amber drones hum at noon' })
      try {
        assert.equal((await ask('GET', '/ready')).status, 200)
        assert.equal((await logIn()).code, 'invalid_credentials')
        road.cut()
        for (let i = 0; i < 3; i++)
          assert.deepEqual(await logIn(), { status: 503, code: 'temporarily_unavailable', retryAfter: '5' })
        assert.deepEqual([(await ask('GET', '/health')).status, (await ask('GET', '/ready')).status], [200, 503])
        road.mend()
        while ((await ask('GET', '/ready')).status !== 200);
        assert.equal((await logIn()).code, 'invalid_credentials')
      } finally {
        road.mend()
        await server.stop()
        rmSync(dataDir, { recursive: true, force: true })
      }
    })
  })
})
