import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLogger, type LogFields } from './logger.ts'

function logged(fields: Record<string, unknown>, fault?: unknown): string {
  const lines: string[] = []
  createLogger(
    (line) => lines.push(line),
    () => 0,
  ).error('tested', fields as LogFields, fault)
  return lines.join('')
}

test('only listed fields reach the log', () => {
  const line = logged({ jobId: 'job', command: 'canary', env: 'canary', text: 'canary' })
  assert.deepEqual(JSON.parse(line), {
    level: 'error',
    time: '1970-01-01T00:00:00.000Z',
    event: 'tested',
    jobId: 'job',
  })
})

test('queries and user parts of URLs are removed, in faults too', () => {
  const url = 'failed: https://user:canary@git.example.net/a.git?token=canary#canary'
  const line = logged({ detail: url }, new Error(url))
  assert.ok(!line.includes('canary'), line)
  assert.match(line, /git\.example\.net\/a\.git/)
})

test('a value cannot begin a line of its own', () => {
  assert.equal(logged({ reason: 'a\n{"event":"forged"}' }).trimEnd().split('\n').length, 1)
})
