import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { findGpus, findGranted, gpuGroups, gpuOptions } from './gpu.ts'
import { launchChain } from './launch-chain.ts'
import { requireTools } from './prerequisites.ts'
import { openSandbox } from './sandbox.ts'
import type { Sandbox } from './spec.ts'
import { LIMITS, runJob, shell } from './testing.ts'

// Devices of the kernel that a sandbox does not have by itself stand for GPUs: that a driver works through them is not shown
// here, for want of one.

let tree: string
before(() => {
  tree = mkdtempSync(join(tmpdir(), 'hivesync-gpu-test-'))
  chmodSync(tree, 0o755)
})
after(() => rmSync(tree, { recursive: true }))

/** A device node that reads as zeros, as /dev/zero does. */
function put(path: string, mode = 0o666, root = tree): void {
  mkdirSync(join(root, path, '..'), { recursive: true })
  execFileSync('mknod', [join(root, path), 'c', '1', '5'], { stdio: 'pipe' })
  chmodSync(join(root, path), mode)
}

/** Why there can be no device nodes here, or false. */
function reasonToSkip(): string | false {
  const folder = mkdtempSync(join(tmpdir(), 'hivesync-gpu-test-'))
  try {
    put('zero', 0o600, folder)
    closeSync(openSync(join(folder, 'zero'), 'r'))
    return false
  } catch {
    return 'this user can make no device nodes that work'
  } finally {
    rmSync(folder, { recursive: true })
  }
}
const devices = { skip: reasonToSkip() }

test('a machine without device nodes has no GPU, and one with control nodes alone neither', devices, () => {
  assert.deepEqual(findGpus(tree), [])
  put('dev/nvidiactl')
  put('dev/nvidia-uvm')
  assert.deepEqual(findGpus(tree), [])
})

test('the nodes of each driver are found; screens, links, files and strangers are not', devices, () => {
  put('dev/nvidia0')
  put('dev/dri/renderD128', 0o660)
  put('dev/dri/card0')
  put('dev/kfd', 0o660)
  put('dev/nvidia-modeset')
  put('dev/sda')
  symlinkSync('/dev/sda', join(tree, 'dev/nvidia9'))
  writeFileSync(join(tree, 'dev/nvidia8'), '')
  const group = statSync(join(tree, 'dev/kfd')).gid
  const at = (node: string) => ({ node, from: join(tree, node) })
  assert.deepEqual(findGpus(tree), [
    { driver: 'nvidia', ...at('/dev/nvidia-uvm'), group: undefined },
    { driver: 'nvidia', ...at('/dev/nvidia0'), group: undefined },
    { driver: 'nvidia', ...at('/dev/nvidiactl'), group: undefined },
    { driver: 'dri', ...at('/dev/dri/renderD128'), group },
    { driver: 'kfd', ...at('/dev/kfd'), group },
  ])
  assert.deepEqual(gpuGroups(findGpus(tree)), [group])
})

test('nothing is granted unless the operator names it, and of what is named only what is a GPU', devices, () => {
  const granted = (...named: string[]) => findGranted(named, tree).map(({ node }) => node)
  assert.deepEqual(granted(), [])
  assert.deepEqual(granted('/dev/dri/renderD128'), ['/dev/dri/renderD128'])
  for (const stranger of [
    '/dev/sda',
    '/dev/nvidia9',
    '/dev/nvidia8',
    '/dev/dri/card0',
    '/dev/../dev/kfd',
    '/dev/*',
    'kfd',
  ])
    assert.deepEqual(granted(stranger), [], stranger)
})

test('devices are bound as devices, drivers’ files and the device’s own part of sysfs read-only', () => {
  const device = 'sys/devices/pci0000:00/0000:01:00.0'
  mkdirSync(join(tree, device, 'drm/renderD128'), { recursive: true })
  symlinkSync('../..', join(tree, device, 'drm/renderD128/device'))
  mkdirSync(join(tree, 'sys/class/drm'), { recursive: true })
  symlinkSync(`../../../${device}/drm/renderD128`, join(tree, 'sys/class/drm/renderD128'))
  mkdirSync(join(tree, 'etc/OpenCL'), { recursive: true })
  const options = gpuOptions(
    [{ driver: 'dri', node: '/dev/dri/renderD128', from: '/dev/dri/renderD128', group: 44 }],
    tree,
  )
  assert.deepEqual(options, [
    ...['--dev-bind', '/dev/dri/renderD128', '/dev/dri/renderD128'],
    ...['--ro-bind', '/etc/OpenCL', '/etc/OpenCL'],
    ...['--ro-bind', `/${device}`, `/${device}`],
    ...['--symlink', `/${device}/drm/renderD128`, '/sys/class/drm/renderD128'],
  ])
})

test('the slot’s user is in the groups of the devices and in no other', () => {
  const chain = (groups: number[]): string[] => launchChain({ tools: requireTools(), slotUid: 61_001, groups })
  assert.ok(chain([44, 109]).includes('--groups=44,109'))
  assert.equal(chain([44]).includes('--clear-groups'), false)
  assert.ok(chain([]).includes('--clear-groups'))
})

test('a job that asks for a GPU where none is granted is refused before it runs, and the slot is free again', async () => {
  const sandbox = await openSandbox({ slots: 1 })
  try {
    const run = (gpu: boolean) => sandbox.run({ command: ['true'], gpu, limits: LIMITS })
    await assert.rejects(run(true), { name: 'GpuUnavailable', message: /asks for a GPU/ })
    assert.equal((await run(false)).exitCode, 0)
  } finally {
    await sandbox.close()
  }
})

describe('a granted device', devices, () => {
  let sandbox: Sandbox
  before(async () => {
    const gpus = findGranted(['/dev/nvidia0'], tree)
    sandbox = await openSandbox({ slots: 1, gpus, gpuMaxMs: 500 })
  })
  after(() => sandbox.close())

  test('works in a job that asks for it, and no other of the machine is there', async () => {
    const look = shell(
      'head -c 3 /dev/nvidia0 | tr "\\0" x; echo; ls -d /dev/nvidia* /dev/dri /dev/kfd 2>/dev/null; echo end',
    )
    assert.equal((await runJob(sandbox, look, { gpu: true })).output, 'xxx\n/dev/nvidia0\nend\n')
  })

  test('is not there for a job that does not ask', async () => {
    for (const asked of [{}, { gpu: false }]) {
      const { output } = await runJob(sandbox, shell('ls -d /dev/nvidia0 2>/dev/null; echo end'), asked)
      assert.equal(output, 'end\n')
    }
  })

  test('is held for no longer than the worker allows, whatever the job’s own limit says', async () => {
    const { receipt } = await runJob(sandbox, ['sleep', '1000'], { gpu: true })
    assert.deepEqual([receipt.killed, receipt.limits.wallMs], ['wall', 500])
    const shorter = await runJob(sandbox, ['true'], { gpu: true, limits: { wallMs: 400 } })
    assert.equal(shorter.receipt.limits.wallMs, 400)
    assert.equal((await runJob(sandbox, ['true'])).receipt.limits.wallMs, LIMITS.wallMs)
  })
})
