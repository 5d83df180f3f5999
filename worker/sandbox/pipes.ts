import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, constants, openSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'

/**
 * Named pipes instead of Node's own stdio: those are socket pairs, which a job cannot open again (`echo x >/dev/stderr`
 * fails with ENXIO), and a regular file as stdin could be reopened for writing by a job that runs as the worker's user.
 */
export type PipeName = 'stdin' | 'stdout' | 'stderr' | 'archive' | 'script'

/** Read by the owner for as long as it lives: see isOwned. */
const ALIVE = 'alive'

const NAMES: readonly PipeName[] = ['stdin', 'stdout', 'stderr', 'archive', 'script']

/** Makes the pipes of every slot, and `alive`, in `folder`, which must be closed to everyone but the worker. */
export function makePipes(mkfifo: string, folder: string, slots: number): void {
  const paths = Array.from({ length: slots }, (_, slot) => NAMES.map((name) => pipePath(folder, slot, name))).flat()
  execFileSync(mkfifo, [...paths, join(folder, ALIVE)], { env: {}, stdio: ['ignore', 'ignore', 'inherit'] })
}

const pipePath = (folder: string, slot: number, name: PipeName): string => join(folder, `${slot}.${name}`)

/** The job's end as a descriptor to hand over (then close here) and the worker's end as a stream. */
export interface Pipe {
  jobFd: number
  stream: Socket
}

/** Opens one pipe of a slot no job holds any more. `stdin` and `script` flow into the job, the others out of it. */
export function openPipe(folder: string, slot: number, name: PipeName): Pipe {
  const path = pipePath(folder, slot, name)
  // The user of the job opens it again through /dev/stdout; and a job under the worker's own user may have closed it off.
  chmodSync(path, 0o666)
  const { O_RDONLY, O_WRONLY, O_NONBLOCK } = constants
  const opened: number[] = []
  const open = (flags: number): number => {
    const fd = openSync(path, flags)
    opened.push(fd)
    return fd
  }
  try {
    const reader = open(O_RDONLY | O_NONBLOCK)
    if (name !== 'stdin' && name !== 'script')
      return { jobFd: open(O_WRONLY), stream: new Socket({ fd: reader, readable: true, writable: false }) }
    const writer = open(O_WRONLY | O_NONBLOCK)
    const jobFd = open(O_RDONLY) // blocking, as a program expects of its stdin; a writer is there, so this does not wait
    closeSync(reader)
    return { jobFd, stream: new Socket({ fd: writer, readable: false, writable: true }) }
  } catch (error) {
    for (const fd of opened) closeSync(fd)
    throw error
  }
}

/** Marks a folder of pipes as in use until the returned descriptor is closed, at the latest by the end of this process. */
export function own(folder: string): number {
  return openSync(join(folder, ALIVE), constants.O_RDONLY | constants.O_NONBLOCK)
}

/** Whether some process, in whatever container, still owns the folder: a named pipe without a reader refuses a writer. */
export function isOwned(folder: string): boolean {
  try {
    closeSync(openSync(join(folder, ALIVE), constants.O_WRONLY | constants.O_NONBLOCK))
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENXIO' || error.code === 'ENOENT')) return false
    throw error
  }
}
