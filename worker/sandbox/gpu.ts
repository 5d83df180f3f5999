import { existsSync, lstatSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'

/** A GPU's device node and what its driver is. */
export interface Gpu {
  readonly driver: 'nvidia' | 'dri' | 'kfd'
  /** Its absolute path inside, by which it is named everywhere. */
  readonly node: string
  /** Where it lies on the host. */
  readonly from: string
  /** The group that may open the node, where not everybody may: the job is given it. */
  readonly group: number | undefined
}

/** A job asked for a GPU and this sandbox has none to give. */
export class GpuUnavailable extends Error {
  constructor() {
    super('sandbox: the job asks for a GPU, and this worker grants none')
    this.name = 'GpuUnavailable'
  }
}

const DEVICES: readonly { driver: Gpu['driver']; folder: string; name: RegExp }[] = [
  { driver: 'nvidia', folder: '/dev', name: /^nvidia(\d+|ctl|-uvm)$/ },
  { driver: 'dri', folder: '/dev/dri', name: /^renderD\d+$/ }, // card* also sets the screen's modes: never given
  { driver: 'kfd', folder: '/dev', name: /^kfd$/ },
]
/** What drivers keep outside /usr: which library to load, and the libraries of those that install elsewhere. */
const DRIVER_FILES = ['/etc/OpenCL', '/etc/vulkan', '/etc/glvnd', '/etc/nvidia', '/opt/rocm', '/run/opengl-driver']

/**
 * The GPUs this machine has; empty where there is none. Nodes that control others (nvidiactl, nvidia-uvm) alone are no GPU, nor
 * is what is no character device. `root` is the tree looked into.
 */
export function findGpus(root = '/'): Gpu[] {
  const found = DEVICES.flatMap(({ driver, folder, name }) => {
    const listed = join(root, folder)
    if (!existsSync(listed)) return []
    return readdirSync(listed)
      .filter((entry) => name.test(entry) && lstatSync(join(listed, entry)).isCharacterDevice())
      .sort()
      .map((entry): Gpu => {
        const from = join(listed, entry)
        const { mode, gid } = statSync(from)
        return { driver, node: join(folder, entry), from, group: (mode & 0o006) === 0o006 ? undefined : gid }
      })
  })
  return found.some(({ node }) => /\d$/.test(node)) ? found : []
}

/** Those of this machine's GPUs that its operator has named to be given to jobs: none unless they are. */
export function findGranted(named: readonly string[], root = '/'): Gpu[] {
  return named.length === 0 ? [] : findGpus(root).filter(({ node }) => named.includes(node))
}

/** The options that bind the devices and, read-only, what their drivers' libraries look up. */
export function gpuOptions(gpus: readonly Gpu[], root = '/'): string[] {
  const nodes = gpus.flatMap(({ from, node }) => ['--dev-bind', from, node])
  const files = DRIVER_FILES.filter((path) => existsSync(join(root, path)))
  return [...nodes, ...files.flatMap((path) => ['--ro-bind', path, path]), ...sysOptions(gpus, root)]
}

/** The groups a job needs to open the nodes. */
export function gpuGroups(gpus: readonly Gpu[]): number[] {
  return [...new Set(gpus.flatMap(({ group }) => (group === undefined ? [] : [group])))]
}

/**
 * libdrm and ROCm learn what a node is from sysfs, of which a job sees nothing else: the device's own folder, and the name
 * by which it is looked up there.
 */
function sysOptions(gpus: readonly Gpu[], root: string): string[] {
  const names = gpus.flatMap(({ driver, node }) => {
    if (driver === 'dri') return [`/sys/class/drm/${node.slice('/dev/dri/'.length)}`]
    return driver === 'kfd' ? ['/sys/class/kfd'] : []
  })
  return names.flatMap((name) => {
    const path = join(root, name)
    if (!existsSync(path)) return []
    const target = `/${relative(realpathSync(root), realpathSync(path))}`
    const device = join(path, 'device')
    const folder = existsSync(device) ? `/${relative(realpathSync(root), realpathSync(device))}` : target
    return ['--ro-bind', folder, folder, ...(target === name ? [] : ['--symlink', target, name])]
  })
}
