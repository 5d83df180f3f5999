import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import { LIMITS, runJob, shell } from './testing.ts'

let sandbox: Sandbox
before(async () => {
  sandbox = await openSandbox({ slots: 2 })
})
after(() => sandbox.close())

const canary = `canary-${process.pid}-${performance.now()}`
const secrets = { TOKEN: Buffer.from(canary), 'key.pem': Buffer.alloc(64 * 1024, 'k') }

test('each secret is a file of its name, whole, for the job’s user alone, that nobody can change', async () => {
  const script = `cd /run/secrets && stat -c '%n %a %u %s' . * && cat TOKEN && echo && wc -c < key.pem
(echo x > TOKEN) 2>/dev/null || echo kept; (chmod 666 TOKEN) 2>/dev/null || echo closed; (rm -f TOKEN) 2>/dev/null || echo there`
  const { output, exitCode } = await runJob(sandbox, shell(script), { secrets })
  const lines = output.trim().split('\n')
  assert.equal(exitCode, 0, output)
  assert.match(lines[0] ?? '', /^\. 500 1000 /)
  assert.deepEqual(lines.slice(1), [
    `TOKEN 400 1000 ${canary.length}`,
    'key.pem 400 1000 65536',
    canary,
    '65536',
    ...['kept', 'closed', 'there'],
  ])
})

test('a secret stands in no environment, command line or mount of the job, and in none of the host’s processes', async () => {
  const abort = new AbortController()
  const seen: string[] = []
  const script = 'cat /proc/*/environ /proc/*/cmdline /proc/*/mountinfo 2>/dev/null; echo up; sleep 60'
  let output = ''
  await runJob(sandbox, shell(script), {
    secrets,
    signal: abort.signal,
    onOutput: (_, chunk) => {
      output += chunk.toString('latin1')
      if (!chunk.includes('up\n')) return
      seen.push(...readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && readAll(pid).includes(canary)))
      abort.abort()
    },
  })
  assert.ok(output.includes('bwrap') && output.endsWith('up\n'), output)
  assert.equal(output.includes(canary), false)
  assert.deepEqual(seen, [])
})

function readAll(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1') + readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return '' // ended, or another user's
  }
}

test('the job of another slot, and the next of the same, know nothing of a secret', async () => {
  const held = Promise.withResolvers<void>()
  const abort = new AbortController()
  const holder = runJob(sandbox, shell('cat /run/secrets/TOKEN >/dev/null && echo up; sleep 60'), {
    secrets,
    signal: abort.signal,
    onOutput: () => held.resolve(),
  })
  await held.promise
  const look = shell(
    'cat /run/secrets/TOKEN /proc/*/root/run/secrets/TOKEN 2>/dev/null; ls /run/secrets 2>/dev/null; echo end',
  )
  assert.equal((await runJob(sandbox, look)).output, 'end\n')
  abort.abort()
  await holder
  for (let run = 0; run < 2; run += 1) assert.equal((await runJob(sandbox, look)).output, 'end\n')
})

test('what a secret says is in no receipt and no error', async () => {
  const { receipt } = await runJob(sandbox, ['true'], { secrets })
  assert.equal(JSON.stringify(receipt).includes(canary), false)
  const refused = runJob(sandbox, ['true'], { secrets, mounts: [{ from: '/nowhere', to: '/opt/x' }] })
  await assert.rejects(refused, (error) => error instanceof Error && !error.message.includes(canary))
})

test('names that are no file names, too many and too large ones are refused before anything runs', async () => {
  const one = Buffer.from('x')
  const refused: Record<string, Uint8Array>[] = [
    { '../passwd': one },
    { '': one },
    { '.hidden': one },
    { 'a/b': one },
    { 'a\0b': one },
    { 'a b': one },
    { [`${'n'.repeat(65)}`]: one },
    { big: Buffer.alloc(64 * 1024 + 1) },
    Object.fromEntries(Array.from({ length: 33 }, (_, at) => [`s${at}`, one])),
  ]
  for (const wrong of refused) {
    await assert.rejects(sandbox.run({ command: ['true'], secrets: wrong, limits: LIMITS }), RangeError)
  }
  const over = sandbox.run({ command: ['true'], mounts: [{ from: '/usr', to: '/run/secrets' }], limits: LIMITS })
  await assert.rejects(over, /mount over/)
})

test('thirty-two secrets are delivered at once', async () => {
  const many = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`s${at}`, Buffer.from(`${at},`)]))
  const { output } = await runJob(
    sandbox,
    shell('cd /run/secrets; i=0; while [ $i -lt 32 ]; do cat s$i; i=$((i+1)); done'),
    {
      secrets: many,
    },
  )
  assert.equal(output, Array.from({ length: 32 }, (_, at) => `${at},`).join(''))
})
