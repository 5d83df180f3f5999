import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { writablePlaces } from './bubblewrap.ts'
import type { KillReason, Sandbox, SandboxLimits, SandboxResult, SandboxSpec } from './spec.ts'

export interface IsolationCheck {
  name: string
  blocked: boolean
  detail: string
}

export interface IsolationReport {
  /** full: every row blocked and the kernel holds memory and tasks; reduced: the watchdog does; none: a row was open. */
  level: 'full' | 'reduced' | 'none'
  layers: string[]
  checks: IsolationCheck[]
}

const MIB = 1024 * 1024
const LIMITS: SandboxLimits = {
  wallMs: 60_000, // 41 s on an emulated processor (measured): a slow machine is no hole
  cpuSeconds: 60,
  memoryBytes: 256 * MIB,
  pids: 48,
  diskBytes: 8 * MIB,
  fileBytes: 80 * MIB,
  outputBytes: 256 * 1024,
  archiveBytes: 0,
  openFiles: 128,
}
const INSIDE_NODE = '/opt/node'

/**
 * Tries to get out of the real sandbox in every way the escape table knows and takes a few seconds. Never throws for
 * what it finds: a row that could not be run counts as open, and one open row makes the level 'none'.
 */
export async function proveIsolation(sandbox: Sandbox): Promise<IsolationReport> {
  const checks: IsolationCheck[] = []
  for (const prove of [proveWalls, proveForkBomb, proveMemoryBomb, proveKills, proveReaping]) {
    try {
      checks.push(...(await prove(sandbox)))
    } catch (error) {
      checks.push({ name: prove.name, blocked: false, detail: `could not be run: ${String(error)}` })
    }
  }
  const layers = [...sandbox.layers]
  const isHeldByKernel = ['memory', 'pids'].every((name) =>
    layers.some((layer) => /^cgroup-v[12]-/.test(layer) && layer.endsWith(name)),
  )
  const isClosed = checks.every((check) => check.blocked)
  return { level: !isClosed ? 'none' : isHeldByKernel ? 'full' : 'reduced', layers, checks }
}

async function runFor(sandbox: Sandbox, spec: SandboxSpec): Promise<{ result: SandboxResult; output: string }> {
  let output = ''
  const result = await sandbox.run({ ...spec, onOutput: (_, chunk) => (output += chunk.toString('utf8')) })
  return { result, output }
}

const nodeMount = (sandbox: Sandbox) => [{ from: sandbox.node, to: INSIDE_NODE }]

/** Rows the probe must have printed; a probe that stopped early must not pass for lack of open rows. */
const LAST_ROW = 'fill /job/fill'

async function proveWalls(sandbox: Sandbox): Promise<IsolationCheck[]> {
  const tcp = createServer((socket) => socket.destroy())
  const abstract = createServer((socket) => socket.destroy())
  const abstractPath = `\0hivesync-self-test-${process.pid}-${performance.now()}`
  try {
    await Promise.all([
      new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve)),
      new Promise<void>((resolve) => abstract.listen(abstractPath, resolve)),
    ])
    const address = tcp.address()
    if (address === null || typeof address === 'string') throw new Error('no port to try')
    const plan = {
      targets: [
        ['network: host loopback', { host: '127.0.0.1', port: address.port }],
        ['network: outside', { host: '192.0.2.1', port: 80 }], // TEST-NET-1, RFC 5737: nobody is there
        ['network: cloud metadata', { host: '169.254.169.254', port: 80 }],
        ['network: abstract unix socket', { path: abstractPath }],
      ],
      hostPaths: hostPaths(sandbox),
      hostPids: [process.pid, process.ppid],
      readOnly: [],
      fill: writablePlaces(LIMITS.diskBytes).map((place) => [`${place.path}/fill`, place.bytes]),
    }
    const probe = readFileSync(join(import.meta.dirname, 'probe.mjs'), 'utf8')
    const { result, output } = await runFor(sandbox, {
      command: [INSIDE_NODE, '--input-type=module', '--eval', probe],
      mounts: nodeMount(sandbox),
      stdin: Buffer.from(JSON.stringify(plan)),
      limits: LIMITS,
    })
    const rows = parseRows(output)
    const isWhole = result.exitCode === 0 && rows.at(-1)?.name === LAST_ROW
    const ending = `exit ${result.exitCode}, killed ${result.receipt.killed}`
    return [
      ...rows,
      {
        name: 'the probe ran to its end',
        blocked: isWhole,
        detail: isWhole ? ending : `${ending}: ${output.slice(-500)}`,
      },
    ]
  } finally {
    tcp.close()
    abstract.close()
  }
}

function parseRows(output: string): IsolationCheck[] {
  return output.split('\n').flatMap((line) => {
    if (!line.startsWith('{')) return []
    const row: Partial<IsolationCheck> = JSON.parse(line)
    return [{ name: String(row.name), blocked: row.blocked === true, detail: String(row.detail) }]
  })
}

/** What lies on this host and must not be found inside: only paths that exist here prove anything. */
function hostPaths(sandbox: Sandbox): string[] {
  const paths = [
    '/etc/shadow',
    '/root',
    '/etc/hostname',
    '/var',
    '/sys',
    import.meta.dirname,
    dirname(sandbox.node),
    process.cwd(),
  ]
  const state = readdirSync(tmpdir()).filter((name) => name.startsWith(`hivesync-${process.pid}-`))
  const own = ['/', '/tmp', '/home', '/usr', '/run', '/dev', '/proc', '/etc', '/bin', '/usr/bin', '/usr/local/bin']
  return [...paths, ...state.map((name) => join(tmpdir(), name))].filter(
    (path) => !own.includes(path) && existsSync(path),
  )
}

async function proveForkBomb(sandbox: Sandbox): Promise<IsolationCheck[]> {
  const script = 'i=0; while [ $i -lt 200 ]; do sleep 30 & i=$((i+1)); done; echo all'
  const { result, output } = await runFor(sandbox, {
    command: ['/bin/sh', '-c', script],
    limits: { ...LIMITS, pids: 16 },
  })
  const blocked = !output.includes('all') && (result.exitCode !== 0 || result.receipt.killed === 'pids')
  return [{ name: 'fork bomb', blocked, detail: output.trim().slice(0, 200) || `killed ${result.receipt.killed}` }]
}

async function proveMemoryBomb(sandbox: Sandbox): Promise<IsolationCheck[]> {
  const script = `const held = []; for (let i = 0; i < 512; i++) held.push(Buffer.alloc(${MIB}, 1)); process.stdout.write('all')`
  const { result, output } = await runFor(sandbox, {
    command: [INSIDE_NODE, '--eval', script],
    mounts: nodeMount(sandbox),
    limits: { ...LIMITS, memoryBytes: 96 * MIB },
  })
  const blocked = result.receipt.killed === 'memory' && output !== 'all'
  return [
    {
      name: 'memory bomb',
      blocked,
      detail: `killed ${result.receipt.killed} at ${result.receipt.peakMemoryBytes} bytes`,
    },
  ]
}

async function proveKills(sandbox: Sandbox): Promise<IsolationCheck[]> {
  const rows: [string, KillReason, string, Partial<SandboxLimits>][] = [
    ['output flood', 'output', 'while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done', {}],
    ['archive flood', 'archive', 'cat /dev/zero >&3', { archiveBytes: MIB }],
    ['sleep beyond the wall clock', 'wall', 'trap "" TERM INT HUP; sleep 60', { wallMs: 300 }],
  ]
  const checks: IsolationCheck[] = []
  for (const [name, reason, script, limits] of rows) {
    const { result } = await runFor(sandbox, { command: ['/bin/sh', '-c', script], limits: { ...LIMITS, ...limits } })
    checks.push({ name, blocked: result.receipt.killed === reason, detail: `killed ${result.receipt.killed}` })
  }
  return checks
}

/** Leaves daemons behind in both usual ways and looks for them among all processes of the machine. */
async function proveReaping(sandbox: Sandbox): Promise<IsolationCheck[]> {
  const mark = `9${process.pid}.${Math.trunc(performance.now())}`
  const script = `(setsid sleep ${mark} </dev/null >/dev/null 2>&1 &); (sleep ${mark} &); exit 0`
  await runFor(sandbox, { command: ['/bin/sh', '-c', script], limits: LIMITS })
  const survivors = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandLineOf(name).includes(mark))
  return [{ name: 'daemons outlive their job', blocked: survivors.length === 0, detail: `${survivors.length} alive` }]
}

function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1')
  } catch {
    return '' // it ended while the list was read
  }
}
