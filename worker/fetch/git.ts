import type { Sandbox, SandboxLimits, SandboxMount, SandboxResult } from '../sandbox/spec.ts'

/** Where things are inside the sandbox: the only paths git ever sees, so its messages can name no path of the host. */
export const insidePaths = { mirror: '/mirror', source: '/source', caFile: '/ca.pem' } as const

/** The sandbox's forwarder to the worker's filtering proxy. */
const sandboxProxy = 'http://127.0.0.1:8118'

export type GitProtocol = 'https' | 'file' | 'none'

/**
 * Configuration for every git command, given in the environment because no file may add to it: a URL-specific
 * `http.<url>.*` of a config file would win over these keys. Each key is git-config(1)'s; unknown ones are ignored by older git.
 */
const hardening: readonly (readonly [key: string, value: string])[] = [
  ['protocol.allow', 'never'],
  ['protocol.version', '2'],
  // Nothing of the repository or the machine is ever run.
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['core.askPass', ''],
  ['core.sshCommand', '/bin/false'],
  ['core.gitProxy', ''],
  ['core.alternateRefsCommand', '/bin/true'],
  ['credential.helper', ''],
  ['uploadpack.packObjectsHook', ''],
  ['diff.external', ''],
  // No checkout is ever made; should one be, it makes no links and no names that other systems confuse with .git.
  ['core.symlinks', 'false'],
  ['core.protectHFS', 'true'],
  ['core.protectNTFS', 'true'],
  ['core.attributesFile', '/dev/null'],
  ['core.excludesFile', '/dev/null'],
  ['core.logAllRefUpdates', 'false'],
  ['core.maxTreeDepth', '128'],
  ['core.bigFileThreshold', '16m'],
  ['core.packedGitLimit', '256m'],
  // A redirect would leave the checked host, and http-alternates would too (git follows both only with redirects on).
  ['http.followRedirects', 'false'],
  ['http.sslVerify', 'true'],
  ['http.cookieFile', '/dev/null'],
  ['http.saveCookies', 'false'],
  ['http.emptyAuth', 'false'],
  ['http.delegation', 'none'],
  ['http.lowSpeedLimit', '1000'], // bytes per second, for stallSeconds
  ['transfer.credentialsInUrl', 'die'],
  ['transfer.bundleURI', 'false'], // CVE-2025-48385
  ['transfer.fsckObjects', 'true'],
  ['fetch.fsckObjects', 'true'],
  // Harmless and common in old histories; refusing them would refuse well-known repositories.
  ['fetch.fsck.badTimezone', 'ignore'],
  ['fetch.fsck.missingSpaceBeforeDate', 'ignore'],
  ['fetch.fsck.zeroPaddedFilemode', 'ignore'],
  ['fetch.recurseSubmodules', 'false'],
  ['submodule.recurse', 'false'],
  ['fetch.unpackLimit', '1'], // always one pack, so that RLIMIT_FSIZE bounds what a fetch can store
  ['fetch.writeCommitGraph', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['pack.threads', '1'],
  ['pack.windowMemory', '64m'],
  ['safe.bareRepository', 'explicit'],
  ['safe.directory', '*'], // only our own mounts exist in the sandbox, under whichever user it runs
  ['advice.detachedHead', 'false'],
]

/**
 * Options that make git read a local source owned by somebody else. They are given to upload-pack on its command line
 * because git strips GIT_CONFIG_COUNT from the environment of a child working in another repository.
 */
export const localUploadPack =
  '--upload-pack=git -c safe.directory=* -c core.hooksPath=/dev/null -c core.fsmonitor=false upload-pack'

/** The whole environment of a git command, built from nothing; the sandbox adds PATH only. */
export function gitEnvironment(run: Pick<GitRun, 'protocol' | 'hasCaFile' | 'stallSeconds'>): Record<string, string> {
  const { protocol } = run
  const config = [...hardening]
  if (protocol !== 'none') config.push([`protocol.${protocol}.allow`, 'always'])
  if (protocol === 'https') {
    config.push(['http.proxy', sandboxProxy])
    if (run.stallSeconds !== undefined) config.push(['http.lowSpeedTime', String(run.stallSeconds)])
    if (run.hasCaFile) config.push(['http.sslCAInfo', insidePaths.caFile], ['http.sslCAPath', '/etc/ssl/certs'])
  }
  const env: Record<string, string> = {
    HOME: '/nonexistent',
    XDG_CONFIG_HOME: '/nonexistent',
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_SYSTEM: '/dev/null',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TEMPLATE_DIR: '',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/true',
    SSH_ASKPASS: '/bin/true',
    GIT_ALLOW_PROTOCOL: protocol,
    GIT_PROTOCOL_FROM_USER: '0',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_NO_LAZY_FETCH: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_ADVICE: '0',
    GIT_CONFIG_COUNT: String(config.length),
  }
  for (const [index, [key, value]] of config.entries()) {
    env[`GIT_CONFIG_KEY_${index}`] = key
    env[`GIT_CONFIG_VALUE_${index}`] = value
  }
  return env
}

export interface GitRun {
  /** A whole command line, beginning with the program: `git`, or a fixed shell script that calls git. */
  command: readonly string[]
  protocol: GitProtocol
  mounts: readonly SandboxMount[]
  limits: SandboxLimits
  egressSocket?: string
  hasCaFile?: boolean
  /** How long a server may be slower than 1,000 bytes/s. */
  stallSeconds?: number
  stdin?: Uint8Array
  /** Without it the standard output is collected and returned. */
  onStdout?: (chunk: Buffer) => void
  onStderr?: (chunk: Buffer) => void
  signal?: AbortSignal
}

export interface GitAnswer {
  result: SandboxResult
  succeeded: boolean
  stdout: string
  /** The last 16 KiB. */
  stderr: string
}

const maxStderrBytes = 16 * 1024

/** Runs git inside the sandbox, with the hardened environment and nothing else; an abort by `signal` is thrown as its reason. */
export async function runGit(sandbox: Sandbox, run: GitRun): Promise<GitAnswer> {
  run.signal?.throwIfAborted()
  const collected: Buffer[] = []
  let stderr: Buffer = Buffer.alloc(0)
  const result = await sandbox.run({
    command: run.command,
    env: gitEnvironment(run),
    mounts: run.mounts,
    limits: run.limits,
    ...(run.stdin && { stdin: run.stdin }),
    ...(run.egressSocket && { egressSocket: run.egressSocket }),
    ...(run.signal && { signal: run.signal }),
    onOutput(stream, chunk) {
      if (stream === 'stderr') {
        run.onStderr?.(chunk)
        stderr = Buffer.concat([stderr, chunk]).subarray(-maxStderrBytes)
      } else if (run.onStdout) run.onStdout(chunk)
      else collected.push(chunk)
    },
  })
  run.signal?.throwIfAborted()
  const succeeded = result.exitCode === 0 && result.receipt.killed === null
  return { result, succeeded, stdout: Buffer.concat(collected).toString('utf8'), stderr: stderr.toString('utf8') }
}
