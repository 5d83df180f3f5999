import { readFile, statfs } from 'node:fs/promises'
import { arch, availableParallelism, release, totalmem, type } from 'node:os'
import type { WorkerCapabilities } from '@hivesync/contracts/workers.ts'
import type { NodeMount } from '../run/node-mount.ts'
import type { Gpu } from '../sandbox/gpu.ts'
import type { Sandbox, SandboxLimits } from '../sandbox/spec.ts'

const mebibyte = 1024 * 1024
const limits: SandboxLimits = {
  wallMs: 20_000,
  cpuSeconds: 20,
  memoryBytes: 1024 * mebibyte,
  pids: 64,
  diskBytes: 16 * mebibyte,
  fileBytes: mebibyte,
  outputBytes: 4096,
  archiveBytes: 0,
  openFiles: 256,
}
/** Says a line for each interpreter that answers; asked inside, because what the machine has is not what a job sees. */
const script = `
for name in node npm python3; do
  if version=$("$name" --version 2>/dev/null); then echo "$name $version"; fi
done
echo "sh $(readlink -f /bin/sh)"
`

type Runtimes = WorkerCapabilities['runtimes']

/** What this machine offers jobs; all but the free disk is found out once. */
export async function findCapabilities(options: {
  dataDir: string
  gpus: readonly Gpu[]
  place: { sandbox: Sandbox; nodeMount: NodeMount | undefined } | undefined
}): Promise<() => Promise<WorkerCapabilities>> {
  const { dataDir, gpus, place } = options
  const fixed = {
    arch: arch().slice(0, 20),
    system: (await describeSystem()).slice(0, 100),
    cores: availableParallelism(),
    memoryMiB: Math.floor(memoryBytes() / mebibyte),
    gpus: gpus
      .filter(({ node }) => /\d$/.test(node))
      .slice(0, 16)
      .map(({ driver, node }) => `${driver} ${node}`.slice(0, 100)),
    cgroups: cgroupsOf(place?.sandbox.layers ?? []),
    runtimes: place === undefined ? {} : await findRuntimes(place.sandbox, place.nodeMount),
  }
  return async () => ({ ...fixed, freeDiskMiB: Math.floor((await freeBytes(dataDir)) / mebibyte) })
}

/** The bytes this process may still write below a folder, and the size of its volume. */
export async function diskOf(folder: string): Promise<{ freeBytes: number; totalBytes: number }> {
  const { bavail, blocks, bsize } = await statfs(folder)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}

const freeBytes = async (folder: string): Promise<number> => (await diskOf(folder)).freeBytes

/** A container's limit where there is one. */
function memoryBytes(): number {
  const limit = process.constrainedMemory()
  return limit > 0 && limit < totalmem() ? limit : totalmem()
}

async function describeSystem(): Promise<string> {
  const kernel = `${type()} ${release()}`
  const text = await readFile('/etc/os-release', 'utf8').catch(() => '')
  const name = /^PRETTY_NAME="?([^"\n]+)"?$/m.exec(text)?.[1]
  return name === undefined ? kernel : `${name}, ${kernel}`
}

/** By what the sandbox proved that it holds, not by what is mounted. */
function cgroupsOf(layers: readonly string[]): WorkerCapabilities['cgroups'] {
  if (layers.some((layer) => layer.startsWith('cgroup-v2'))) return 'v2'
  return layers.some((layer) => layer.startsWith('cgroup-v1')) ? 'v1' : 'none'
}

async function findRuntimes(sandbox: Sandbox, nodeMount: NodeMount | undefined): Promise<Runtimes> {
  let said = ''
  await sandbox.run({
    command: ['/bin/sh', '-c', script],
    env: nodeMount === undefined ? {} : { PATH: nodeMount.path },
    mounts: nodeMount?.mounts ?? [],
    limits,
    onOutput: (stream, chunk) => {
      if (stream === 'stdout') said += chunk.toString('latin1')
    },
  })
  return readRuntimes(said)
}

/** Versions by interpreter, of the lines that the script says. */
export function readRuntimes(said: string): Runtimes {
  const runtimes: Runtimes = {}
  for (const line of said.split('\n')) {
    const [, name, version] = /^(node|npm|python3|sh) (.*)$/.exec(line) ?? []
    const text = version?.replace(/^(v|Python |.*\/)/, '').slice(0, 60)
    if (name === undefined || !text) continue
    runtimes[name as keyof Runtimes] = text
  }
  return runtimes
}
