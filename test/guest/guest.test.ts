import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { test } from 'node:test'
import { guestKernel } from '../harness/guest-kernel.ts'

// A machine whose controllers are all cgroup v2's, as most are today, whatever this one is: emulated, so that it needs no rights here.
// HIVESYNC_TEST_KERNEL names its kernel (Debian's linux-image-cloud-amd64, boot/vmlinuz-*).

const root = join(import.meta.dirname, '../..')
const programs = [
  ...['bwrap', 'setpriv', 'prlimit', 'sh', 'switch_root', 'mount', 'unshare'],
  ...[
    'cat',
    'cp',
    'mkdir',
    'mkfifo',
    'chown',
    'chmod',
    'head',
    'tail',
    'wc',
    'tr',
    'sleep',
    'setsid',
    'true',
    'uname',
    'basename',
    'echo',
  ],
]
const bootMs = 40 * 60_000

/** Where a program lies, whatever this process's own PATH prefers. */
function find(name: string): string | undefined {
  return ['/usr/bin', '/usr/sbin', '/bin', '/sbin'].map((folder) => join(folder, name)).find((path) => existsSync(path))
}

function reasonToSkip(): string | false {
  if (guestKernel === undefined || !existsSync(guestKernel)) return 'HIVESYNC_TEST_KERNEL names no kernel to boot'
  if (process.arch !== 'x64') return 'the guest is an x86-64 machine'
  const missing = [...programs, 'qemu-system-x86_64', 'cpio', 'ldd'].filter((name) => find(name) === undefined)
  return missing.length > 0 ? `missing: ${missing.join(', ')}` : false
}

/** Copies a program and the libraries it is linked with. */
function put(folder: string, path: string, name = basename(path)): void {
  copyFileSync(path, join(folder, 'usr/bin', name))
  const linked = spawnSync('ldd', [path], { encoding: 'utf8' }).stdout ?? ''
  for (const [library] of linked.matchAll(/\/\S+\.so[^\s:]*/g)) {
    const to = join(folder, library.startsWith('/usr/') ? library : `/usr${library}`)
    mkdirSync(dirname(to), { recursive: true })
    copyFileSync(library, to)
  }
}

/** The archive that the kernel unpacks: the programs, node and the sandbox with its tests. */
function makeArchive(folder: string): string {
  const tree = join(folder, 'root')
  for (const name of ['usr/bin', 'usr/sbin', 'usr/lib', 'usr/lib64', 'etc', 'new', 'dev', 'proc', 'checkout/worker'])
    mkdirSync(join(tree, name), { recursive: true })
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(tree, name))
  for (const name of programs) {
    const path = find(name)
    if (path !== undefined) put(tree, path, name)
  }
  put(tree, process.execPath, 'node')
  cpSync(join(root, 'worker/sandbox'), join(tree, 'checkout/worker/sandbox'), { recursive: true })
  writeFileSync(join(tree, 'checkout/package.json'), '{"type":"module"}')
  writeFileSync(join(tree, 'etc/passwd'), 'root:x:0:0:root:/:/bin/sh\n')
  copyFileSync(join(import.meta.dirname, 'guest.sh'), join(tree, 'init'))
  chmodSync(join(tree, 'init'), 0o755)
  const archive = join(folder, 'initrd')
  execFileSync('/bin/sh', ['-c', `find . | cpio -o -H newc --quiet > "$1"`, 'sh', archive], { cwd: tree })
  return archive
}

test('on a machine of cgroup v2 the limits of jobs hold in the kernel', {
  skip: reasonToSkip(),
  timeout: bootMs,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-guest-test-'))
  try {
    const machine = [
      '-accel',
      'tcg,thread=multi',
      '-cpu',
      'max',
      '-smp',
      '2',
      '-m',
      '3072',
      '-nic',
      'none',
      '-no-reboot',
    ]
    const screen = ['-display', 'none', '-serial', 'stdio', '-monitor', 'none']
    const boot = ['-kernel', guestKernel ?? '', '-initrd', makeArchive(folder)]
    const line = 'console=ttyS0 panic=-1 quiet cgroup_no_v1=all'
    const guest = spawn('qemu-system-x86_64', [...machine, ...screen, ...boot, '-append', line], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    guest.stdout.on('data', (chunk) => (said += chunk))
    await new Promise((resolve) => guest.once('close', resolve))
    const ends = [...said.matchAll(/^guest: ended (\d+) (\S+)/gm)].map(([, code, file]) => `${file} ${code}`)
    assert.deepEqual(ends, ['cgroup-v2-kernel.test.ts 0', 'layers-limits.test.ts 0'], said)
    assert.match(said, /^# skipped 0\s/m, said)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
