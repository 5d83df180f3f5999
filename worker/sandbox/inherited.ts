import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { SandboxUnavailable } from './unavailable.ts'

const O_CLOEXEC = 0o2000000

/**
 * Descriptors above 2 this process was started with and would hand to every child: a shell, an editor or a service
 * manager left them open. Neither Node nor bubblewrap closes them, so a job could read or write what they lead to.
 */
export function findInheritedDescriptors(): number[] {
  return readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      // The descriptor of this very listing is closed by now.
      if (fd <= 2 || !existsSync(`/proc/self/fdinfo/${fd}`)) return false
      const flags = /^flags:\s+([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1]
      return flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0
    })
}

/** The chain with a first stage that closes `descriptors`; the other shells cannot name one above 9, so this is bash. */
export function closingChain(
  descriptors: readonly number[],
  chain: readonly [string, ...string[]],
): readonly [string, ...string[]] {
  if (descriptors.length === 0) return chain
  const bash = ['/bin/bash', '/usr/bin/bash', '/usr/local/bin/bash'].find((path) => existsSync(path))
  if (bash === undefined) {
    throw new SandboxUnavailable(
      `The worker was started with open descriptors (${descriptors.join(', ')}) that jobs would inherit, and bash is not here to close them.`,
      'Start the worker from a service manager, or install bash.',
    )
  }
  const redirections = descriptors.map((fd) => `${fd}>&-`).join(' ')
  return [bash, '--norc', '--noprofile', '-c', `exec ${redirections}; exec -c "$@"`, 'bash', ...chain]
}
