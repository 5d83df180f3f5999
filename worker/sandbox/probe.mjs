// The escape table as a job sees it, with nothing but node, sh and util-linux. Reads a plan from stdin as JSON,
// tries every way out, prints one JSON line per row: {name, blocked, detail}.
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { connect } from 'node:net'

const plan = JSON.parse(fs.readFileSync(0, 'utf8'))
const report = (name, blocked, detail) => process.stdout.write(`${JSON.stringify({ name, blocked, detail })}\n`)

/** A row of attempts: blocked when every one of them throws; the first that works is the detail. */
function attempts(name, tries) {
  const errors = new Set()
  for (const [what, attempt] of tries) {
    try {
      attempt()
      return report(name, false, `${what} worked`)
    } catch (error) {
      errors.add(error.code ?? error.message)
    }
  }
  report(name, true, [...errors].join(', '))
}

const run = (program, ...args) => {
  const done = spawnSync(program, args, { encoding: 'utf8', timeout: 5000 })
  if (done.error?.code === 'ENOENT') throw Object.assign(new Error('absent'), { code: 'ABSENT' })
  if (done.status !== 0) throw new Error((done.stderr.trim().split(':').pop() || `exit ${done.status}`).trim())
}
const open = (path, flags) => [path, () => fs.closeSync(fs.openSync(path, flags))]
const command = (...argv) => [argv.join(' '), () => run(...argv)]

const reach = (options) =>
  new Promise((resolve) => {
    const socket = connect({ ...options, timeout: 1000 })
    const end = (answer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end('connected'))
    socket.once('timeout', () => end('timeout'))
    socket.once('error', (error) => end(error.code ?? error.message))
  })
for (const [name, options] of plan.targets) {
  const answer = await reach(options)
  report(name, answer !== 'connected' && answer !== 'timeout', answer)
}

attempts(
  'read host files',
  plan.hostPaths.map((path) => [path, () => fs.statSync(path)]),
)
const environment = fs.readFileSync('/proc/1/environ', 'latin1')
report('environment of the launcher', environment === '', `${environment.length} bytes in /proc/1/environ`)
const foreign = Object.keys(process.env).filter((name) => !['PATH', 'HOME', 'LANG', 'PWD', 'SHLVL', '_'].includes(name))
report('environment of the job', foreign.length === 0, foreign.join(' ') || 'only its own')
// Up to `--` it is bubblewrap's; what follows is the job's own command.
const argv = fs.readFileSync('/proc/1/cmdline', 'latin1').split('\0')
const options = argv.slice(0, argv.indexOf('--'))
report('command line of the launcher', options.length === 3 && options[1] === '--args', options.join(' '))

const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))
report('see host processes', pids.length <= 4, `${pids.length} processes`)
attempts(
  'signal host processes',
  plan.hostPids.map((pid) => [`kill ${pid}`, () => process.kill(pid, 0)]),
)
attempts(
  'read or write the memory of process 1',
  ['/proc/1/mem', '/proc/1/task/1/mem'].flatMap((path) => [open(path, 'r'), open(path, 'r+')]),
)
attempts('mount, unmount, chroot', [
  command('mount', '-t', 'tmpfs', 'none', '/tmp'),
  command('mount', '-o', 'remount,rw,bind', '/'),
  command('mount', '-o', 'remount,rw,bind', '/usr'),
  command('umount', '/proc'),
  command('umount', '-l', '/usr'),
  command('chroot', '/job', '/bin/true'),
])
attempts('make or enter namespaces', [
  command('unshare', '--user', 'true'),
  command('unshare', '--user', '--map-root-user', 'true'),
  command('unshare', '--net', 'true'),
  command('unshare', '--mount', 'true'),
  command('nsenter', '--target', '1', '--mount', 'true'),
  command('nsenter', '--target', '1', '--user', 'true'),
])
const places = ['/', '/usr', '/usr/bin', '/etc', '/dev', '/run', '/home', '/proc', ...plan.readOnly]
attempts('write outside its own folders', [
  ...places.map((folder) => [folder, () => fs.writeFileSync(`${folder === '/' ? '' : folder}/hivesync-probe`, 'x')]),
  ...['/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger'].map((path) => open(path, 'r+')),
])
attempts('devices', [
  ...[
    '/dev/kvm',
    '/dev/mem',
    '/dev/kmsg',
    '/dev/fuse',
    '/dev/net/tun',
    '/dev/vsock',
    '/dev/loop-control',
    '/dev/sda',
    '/dev/vda',
  ].map((path) => open(path, 'r')),
  command('mknod', '/tmp/disk', 'b', '8', '0'),
])
// A descriptor of Node's own is an anonymous inode or made inside; one handed in would be a file, pipe or socket of the host.
const shell = spawnSync('/bin/sh', ['-c', 'ls /proc/$$/fd'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
const beyond = shell.stdout.split(/\s+/).filter((fd) => Number(fd) > 2 && Number(fd) !== 10)
report('inherited descriptors', beyond.length === 0, beyond.join(' ') || 'none beyond 0-2')
const status = fs.readFileSync('/proc/self/status', 'latin1')
const field = (name) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(status)?.[1] ?? ''
report(
  'gain privileges',
  field('NoNewPrivs') === '1' &&
    /^0+$/.test(field('CapEff')) &&
    /^0+$/.test(field('CapBnd')) &&
    process.getuid() === 1000,
  `NoNewPrivs ${field('NoNewPrivs')} CapEff ${field('CapEff')} CapBnd ${field('CapBnd')} uid ${process.getuid()}`,
)
report('system call filter', field('Seccomp') === '2', `Seccomp ${field('Seccomp')}`)
attempts('setuid programs', [
  command('su', '-c', 'true'),
  command('sudo', '-n', 'true'),
  command('newuidmap', String(process.pid), '0', '0', '1'),
])
attempts('sparse file', [['1 TiB', () => run('truncate', '-s', '1T', '/job/sparse')]])

function fill(path, maxBytes) {
  const chunk = Buffer.alloc(1 << 20, 1)
  let written = 0
  try {
    const fd = fs.openSync(path, 'w')
    for (; written < maxBytes; ) written += fs.writeSync(fd, chunk)
  } catch (error) {
    return { written, stopped: error.code }
  }
  return { written, stopped: undefined }
}
for (const [path, bytes] of plan.fill) {
  const { written, stopped } = fill(path, bytes + (4 << 20))
  report(
    `fill ${path}`,
    stopped === 'ENOSPC' && written <= bytes,
    `${stopped ?? 'never stopped'} after ${written} bytes`,
  )
  fs.rmSync(path)
}
