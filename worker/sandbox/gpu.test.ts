import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { findGpus, gpuGroups, gpuOptions } from './gpu.ts'
import { launchChain } from './launch-chain.ts'
import { requireTools } from './prerequisites.ts'
import { openSandbox } from './sandbox.ts'
import { LIMITS } from './testing.ts'

// A tree of plain files stands for the devices: what is found, and which options come of it. That a driver works through
// them is not shown here, for want of a GPU.

let tree: string
before(() => {
  tree = mkdtempSync(join(tmpdir(), 'hivesync-gpu-test-'))
})
after(() => rmSync(tree, { recursive: true }))

function put(path: string, mode = 0o666): void {
  mkdirSync(join(tree, path, '..'), { recursive: true })
  writeFileSync(join(tree, path), '')
  chmodSync(join(tree, path), mode)
}

test('a machine without device nodes has no GPU, and one with control nodes alone neither', () => {
  assert.deepEqual(findGpus(tree), [])
  put('dev/nvidiactl')
  put('dev/nvidia-uvm')
  assert.deepEqual(findGpus(tree), [])
})

test('the nodes of each driver are found, screens, links and strangers are not', () => {
  put('dev/nvidia0')
  put('dev/dri/renderD128', 0o660)
  put('dev/dri/card0')
  put('dev/kfd', 0o660)
  put('dev/nvidia-modeset')
  put('dev/sda')
  symlinkSync('/dev/sda', join(tree, 'dev/nvidia9'))
  const group = statSync(join(tree, 'dev/kfd')).gid
  assert.deepEqual(findGpus(tree), [
    { driver: 'nvidia', node: '/dev/nvidia-uvm', group: undefined },
    { driver: 'nvidia', node: '/dev/nvidia0', group: undefined },
    { driver: 'nvidia', node: '/dev/nvidiactl', group: undefined },
    { driver: 'dri', node: '/dev/dri/renderD128', group },
    { driver: 'kfd', node: '/dev/kfd', group },
  ])
  assert.deepEqual(gpuGroups(findGpus(tree)), [group])
})

test('devices are bound as devices, drivers’ files and the device’s own part of sysfs read-only', () => {
  const device = 'sys/devices/pci0000:00/0000:01:00.0'
  mkdirSync(join(tree, device, 'drm/renderD128'), { recursive: true })
  symlinkSync('../..', join(tree, device, 'drm/renderD128/device'))
  mkdirSync(join(tree, 'sys/class/drm'), { recursive: true })
  symlinkSync(`../../../${device}/drm/renderD128`, join(tree, 'sys/class/drm/renderD128'))
  mkdirSync(join(tree, 'etc/OpenCL'), { recursive: true })
  const options = gpuOptions([{ driver: 'dri', node: '/dev/dri/renderD128', group: 44 }], tree)
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

test('only a job that asks for it sees a granted device', {
  skip: existsSync('/dev/loop-control') ? false : 'no device here to stand for one',
}, async () => {
  // Any device that a sandbox does not have by itself stands for one.
  const gpus = [{ driver: 'kfd' as const, node: '/dev/loop-control', group: undefined }]
  const sandbox = await openSandbox({ slots: 1, gpus })
  try {
    const sees = async (gpu: boolean): Promise<number | null> =>
      (await sandbox.run({ command: ['test', '-c', '/dev/loop-control'], gpu, limits: LIMITS })).exitCode
    assert.equal(await sees(false), 1)
    assert.equal(await sees(true), 0)
  } finally {
    await sandbox.close()
  }
})
