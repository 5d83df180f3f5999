import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { createLogger, type LogFields, pickLogFields, withoutRoutine } from './logger.ts'

function lines(work: (log: ReturnType<typeof createLogger>) => void): Record<string, unknown>[] {
  const written: string[] = []
  work(createLogger({ write: (line) => void written.push(line) }))
  return written.map((line) => {
    assert.match(line, /^[^\n\r]*\n$/, 'one line each')
    return JSON.parse(line)
  })
}

test('a line is JSON with its level and an ISO time in UTC', () => {
  const [line] = lines((log) => log.warn({ event: 'request', status: 404 }))
  assert.deepEqual({ ...line, time: undefined }, { level: 'warn', time: undefined, event: 'request', status: 404 })
  assert.equal(new Date(String(line?.time)).toISOString(), line?.time)
})

test('only allow-listed members with plain values are written, whatever is given', () => {
  const fields = { event: 'x', reason: 'why', password: 'hunter2', authorization: 'hunter2', body: { a: 'hunter2' } }
  assert.deepEqual(pickLogFields(fields), { event: 'x', reason: 'why' })
  assert.deepEqual(
    pickLogFields({ reason: { secret: 'hunter2' }, token: ['hunter2'], count: 1n, name: () => 'hunter2' }),
    {},
  )
  assert.deepEqual(pickLogFields(JSON.parse('{"__proto__":{"event":"hunter2"}}')), {})
  const given: LogFields & { password: string } = { event: 'x', password: 'hunter2' }
  assert.doesNotMatch(JSON.stringify(lines((log) => log.info(given))), /hunter2/)
})

test('no value can forge a line, a member or a terminal command', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const [line, ...more] = lines((log) =>
        log.info({ event: 'request', reason: text, code: '\n{"level":"error"}\r\x1b[2J\u2028' }),
      )
      assert.equal(more.length, 0)
      assert.equal(line?.level, 'info')
      assert.equal(line?.code, '\n{"level":"error"}\r\x1b[2J\u2028')
      assert.deepEqual(Object.keys(line ?? {}).sort(), ['code', 'event', 'level', 'reason', 'time'])
    }),
  )
  const written: string[] = []
  createLogger({ write: (line) => void written.push(line) }).info({ reason: 'a\nb\x1b[2J\x07\u0000' })
  assert.doesNotMatch(written.join('').trimEnd(), /\p{Cc}/u)
})

test('format marks in a value stay as they are', () => {
  const [line] = lines((log) => log.info({ event: '%s %o %j %%', reason: '%n' }))
  assert.deepEqual([line?.event, line?.reason], ['%s %o %j %%', '%n'])
})

test('a long value is cut', () => {
  const [line] = lines((log) => log.info({ reason: 'x'.repeat(10_000) }))
  assert.equal(String(line?.reason).length, 4000)
})

describe('a fault', () => {
  test('is logged with its name, message and stack', () => {
    const [line] = lines((log) => log.error({ event: 'request_failed' }, new RangeError('off by one')))
    assert.deepEqual([line?.errorName, line?.errorMessage], ['RangeError', 'off by one'])
    assert.match(String(line?.stack), /RangeError: off by one\n {4}at /)
  })

  test('that is no error says only what it was not', () => {
    const [line] = lines((log) => log.error({ event: 'request_failed' }, { password: 'hunter2' }))
    assert.equal(line?.errorMessage, 'object')
    assert.doesNotMatch(JSON.stringify(line), /hunter2/)
  })

  test('shows nothing that looks like a credential or an email address', () => {
    const secrets = [
      'postgres://hive:hunter2@db.test/hive',
      'https://hunter2@git.test/x',
      'eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJodW50ZXIyIn0.aHVudGVyMg',
      `hs_${'Ab1_'.repeat(14)}x`,
      'ada.lovelace@example.net',
      'q'.repeat(43),
    ]
    for (const secret of secrets) {
      const [line] = lines((log) => log.error({ event: 'x' }, new Error(`cannot use "${secret}" for <${secret}>`)))
      const text = JSON.stringify(line)
      assert.doesNotMatch(text, /hunter2|aHVudGVyMg|Ab1_Ab1|lovelace|qqqq/, text)
      assert.match(text, /cannot use/)
    }
    const [line] = lines((log) =>
      log.error({ event: 'x' }, new Error('job 01890000-0000-7000-8000-000000000000 failed')),
    )
    assert.match(String(line?.errorMessage), /job 01890000-0000-7000-8000-000000000000 failed/)
  })
})

test('on a terminal requests that went well are left out, and nothing else is', () => {
  const written = lines((log) => {
    const quiet = withoutRoutine(log)
    quiet.info({ event: 'request', status: 200 })
    quiet.info({ event: 'request', status: 304 })
    quiet.info({ event: 'request', status: 401 })
    quiet.info({ event: 'stopping' })
    quiet.warn({ event: 'request', status: 200 })
    quiet.error({ event: 'request', status: 200 })
  })
  assert.deepEqual(
    written.map(({ level, event, status }) => [level, event, status]),
    [
      ['info', 'request', 401],
      ['info', 'stopping', undefined],
      ['warn', 'request', 200],
      ['error', 'request', 200],
    ],
  )
})
