import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Claim } from '@hivesync/contracts/worker-protocol.ts'
import { allowedDestinations, type OperatorHosts } from '../fetch/egress-allowance.ts'
import { defaultEgressLimits, type EgressDecision, openEgressProxy } from '../fetch/egress-proxy.ts'
import { countEgressRefusals, type EgressRefusals } from '../fetch/egress-refusals.ts'
import type { Sandbox, SandboxLimits, SandboxResult } from '../sandbox/spec.ts'
import { InputInvalid } from './compute-input.ts'
import { installLimits } from './compute-limits.ts'
import { ArchiveDamaged, findInArchive, type InputPart, packInput } from './input-archive.ts'
import { explainHosts, type InstallReach, InstallRefused, maxLockfileBytes, requireInstallable } from './lockfile.ts'
import type { Npm } from './npm.ts'

/** What the worker's operator and machine give to steps with a network. */
export interface InstallNetwork extends OperatorHosts {
  /** A PEM bundle trusted beside the system's. */
  caFile?: string
  /** The system resolver when absent. */
  resolve?: (host: string) => Promise<readonly string[]>
}

export interface InstallOptions {
  sandbox: Sandbox
  npm: Npm | undefined
  /** Of the command that runs afterwards. */
  limits: SandboxLimits
  egress: Claim['egress']
  network: InstallNetwork
  /** What the command will find in its folder, without what is installed here. */
  parts: readonly InputPart[]
  /** Closed to everybody but the worker; what is installed lies there until the job has ended. */
  folder: string
  onOutput: (chunk: Buffer) => void
  onEgress: (decision: EgressDecision) => void
  signal: AbortSignal
}

export type Installed =
  | { ok: true; part: InputPart }
  /** The sandbox ended it: `killed` says at which limit. */
  | { ok: false; killed: NonNullable<SandboxResult['receipt']['killed']> }

const insideCaFile = '/ca.pem'
const sandboxProxy = 'http://127.0.0.1:8118'
/** Beyond these no claim is believed. */
const mostBytes = 10 * 1024 * 1024 * 1024
const mostSeconds = 3600

/**
 * npm's settings, stated in its environment because no file may add to them: neither a script of a package nor git is ever run, every byte comes
 * through the filtering proxy, and what arrives is held against the lockfile's digests by npm itself.
 */
const npmSettings: Readonly<Record<string, string>> = {
  npm_config_ignore_scripts: 'true',
  npm_config_script_shell: '/bin/false',
  npm_config_git: '/bin/false',
  npm_config_registry: 'https://registry.npmjs.org/',
  npm_config_https_proxy: sandboxProxy,
  npm_config_proxy: sandboxProxy,
  npm_config_noproxy: '',
  npm_config_strict_ssl: 'true',
  // Of one file for both npm complains.
  npm_config_userconfig: '/nonexistent/user',
  npm_config_globalconfig: '/nonexistent/global',
  npm_config_cache: '/job/.npm-cache',
  npm_config_logs_max: '0',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
  npm_config_progress: 'false',
  npm_config_color: 'false',
  npm_config_maxsockets: '6',
  npm_config_fetch_retries: '2',
  npm_config_fetch_retry_mintimeout: '1000',
  npm_config_fetch_retry_maxtimeout: '10000',
  npm_config_fetch_timeout: '60000',
}
const npmFlags = ['ci', '--ignore-scripts', '--no-audit', '--no-fund']

/** Unpacks the folder, installs, and hands over every node_modules there is then, as one archive on descriptor 3. */
const script = `
/bin/tar -xf - -C /job --no-same-owner || { echo "hivesync: the files of the job could not be written" >&2; exit 125; }
cd /job && "$@" </dev/null 3>&- || exit
cd /job && find . -path ./.npm-cache -prune -o -type d -name node_modules -prune -print0 | /bin/tar -cf - --null -T - >&3
`

/**
 * Installs by the lockfile in a sandbox that reaches the allowed hosts and nothing else, without the job's secrets and environment; none of the packages'
 * scripts runs. What it made is to be unpacked in the sandbox of the command, which has no network. Nothing is shared with another job.
 * Throws InstallRefused, and what the sandbox throws.
 */
export async function installPackages(options: InstallOptions): Promise<Installed> {
  const { sandbox, npm, egress, network, parts, folder } = options
  if (npm === undefined) {
    const message = 'This worker has no npm that its sandboxes can reach: install Node.js with npm on its machine.'
    throw new InstallRefused('install_unavailable', message)
  }
  const { maxBytes, maxSeconds, ...reach } = readReach(egress, network)
  requireInstallable(await readLockfile(parts), reach)
  const refusals = countEgressRefusals()
  const proxy = await openEgressProxy({
    allow: reach.allowed,
    privateHosts: network.privateHosts,
    requireTls: true,
    ...(network.resolve && { resolve: network.resolve }),
    limits: { ...defaultEgressLimits, maxTunnels: 16, maxBytesDown: maxBytes, tunnelMs: maxSeconds * 1000 },
    onDecision(decision) {
      refusals.note(decision)
      options.onEgress(decision)
    },
  })
  const archive = join(folder, 'node_modules.tar')
  const file = openSync(archive, 'wx', 0o600)
  try {
    const { caFile } = network
    const mounts = [...(npm.mounts ?? []), ...(caFile === undefined ? [] : [{ from: caFile, to: insideCaFile }])]
    const result = await sandbox.run({
      command: ['/bin/sh', '-c', script, 'install', ...npm.command, ...npmFlags],
      env: {
        ...npmSettings,
        ...(npm.path !== undefined && { PATH: npm.path }),
        ...(caFile !== undefined && { NODE_EXTRA_CA_CERTS: insideCaFile }),
      },
      mounts,
      stdin: packInput(parts.map(withoutNpmFiles)),
      limits: installLimits(options.limits, maxSeconds),
      egressSocket: proxy.socketPath,
      onOutput: (_, chunk) => options.onOutput(chunk),
      onArchive: (chunk) => {
        for (let at = 0; at < chunk.length; ) at += writeSync(file, chunk, at)
      },
      signal: options.signal,
    })
    if (result.receipt.killed !== null) return { ok: false, killed: result.receipt.killed }
    if (result.exitCode !== 0) throw explainFailure(result, refusals, reach)
    return { ok: true, part: { archive, accept: isInstalled, linked: true } }
  } finally {
    closeSync(file)
    await proxy.close()
  }
}

function readReach(egress: Claim['egress'], network: OperatorHosts) {
  const { hosts, maxBytes, maxSeconds } = egress ?? { hosts: [], maxBytes: 1, maxSeconds: 1 }
  const isBounded = (value: number, most: number) => Number.isSafeInteger(value) && value >= 1 && value <= most
  if (!isBounded(maxBytes, mostBytes) || !isBounded(maxSeconds, mostSeconds)) throw new InputInvalid('egress')
  try {
    return { hosts, maxBytes, maxSeconds, allowed: allowedDestinations(hosts, network) }
  } catch (error) {
    if (error instanceof RangeError) throw new InputInvalid('egress')
    throw error
  }
}

/** npm-shrinkwrap.json counts before package-lock.json, and a file of the job before one of the bundle. */
async function readLockfile(parts: readonly InputPart[]): Promise<string> {
  for (const name of ['npm-shrinkwrap.json', 'package-lock.json']) {
    for (const part of [...parts].reverse()) {
      const found = await findText(part, name)
      if (found !== undefined) return found
    }
  }
  throw new InstallRefused('lockfile_refused', 'There is no package-lock.json at the top of the bundle: npm makes one.')
}

async function findText(part: InputPart, name: string): Promise<string | undefined> {
  if ('files' in part) return part.files.find(({ path }) => path === name)?.content
  try {
    return (await findInArchive(part.archive, name, maxLockfileBytes))?.toString('utf8')
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new InstallRefused('lockfile_refused', `${name} is longer than ${maxLockfileBytes} bytes.`)
  }
}

/** An .npmrc could name a program for npm to run, or credentials; a cache could not lie, but has no business here. */
function withoutNpmFiles(part: InputPart): InputPart {
  const isTaken = (path: string) => !/(^|\/)\.npmrc$/.test(path) && !/^\.npm-cache(\/|$)/.test(path)
  if ('files' in part) return { files: part.files.filter(({ path }) => isTaken(path)) }
  return { ...part, accept: (path) => part.accept(path) && isTaken(path) }
}

/** Of what the install made only its packages go on, whatever else the sandbox was talked into. */
function isInstalled(path: string): boolean {
  if (path.split('/').includes('node_modules')) return true
  throw new ArchiveDamaged('the install handed over more than packages')
}

function explainFailure(result: SandboxResult, refusals: EgressRefusals, reach: InstallReach): InstallRefused {
  const unlisted = refusals.list().filter(({ reason }) => reason === 'not_listed')
  const names = unlisted.filter(({ host }) => /[a-z]$/.test(host))
  if (names.length > 0)
    return explainHosts(
      names.map(({ host, port }) => (port === 443 ? host : `${host}:${port}`)),
      reach,
    )
  const refused = refusals.text()
  if (refused !== undefined) return new InstallRefused('egress_refused', `The install failed; ${refused}.`)
  const how = result.exitCode === null ? (result.signal ?? 'a signal') : `exit code ${result.exitCode}`
  return new InstallRefused('install_failed', `npm ended with ${how}: what it said is in the log.`)
}
