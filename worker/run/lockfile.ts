import { type EgressDestination, isHostLike } from '../fetch/egress-decision.ts'

/** The lockfile of a job cannot be installed as it stands; the message says what to change, and repeats none of it but names. */
export class InstallRefused extends Error {
  readonly code: 'lockfile_refused' | 'egress_refused' | 'install_unavailable' | 'install_failed'

  constructor(code: InstallRefused['code'], message: string) {
    super(message)
    this.name = 'InstallRefused'
    this.code = code
  }
}

/** Larger ones would hold the worker up for seconds while it reads them. */
export const maxLockfileBytes = 16 * 1024 * 1024

/**
 * Judges a package-lock.json before anything is installed by it: every package comes over https from a host that may be reached, and with the digest
 * that npm then holds it against. What it lets through the egress proxy still checks. Throws InstallRefused.
 */
export function requireInstallable(lockfile: string, reach: InstallReach): void {
  const missing = new Set<string>()
  for (const [place, entry] of packagesOf(lockfile)) {
    const host = findHost(place, entry)
    if (host === undefined) continue
    const isAllowed = reach.allowed.some((to) => isHostLike(host.name, to.host) && (to.port ?? 443) === host.port)
    if (!isAllowed) missing.add(host.port === 443 ? host.name : `${host.name}:${host.port}`)
  }
  if (missing.size > 0) throw explainHosts([...missing], reach)
}

/** What an install may reach: what the project names, and what the worker's operator leaves of it. */
export interface InstallReach {
  hosts: readonly string[]
  allowed: readonly EgressDestination[]
}

/** Says which hosts are missing, and who may allow them how. */
export function explainHosts(names: readonly string[], { hosts }: InstallReach): InstallRefused {
  const shown = names.slice(0, 10).map((name) => (/^[a-z0-9.:-]{1,260}$/.test(name) ? name : 'a host that is no name'))
  const unnamed = shown.filter((name) => !hosts.some((pattern) => isHostLike(name.replace(/:[0-9]+$/, ''), pattern)))
  const message =
    unnamed.length > 0
      ? `The project may not reach ${unnamed.join(', ')} for installs. An owner can allow it: hivesync project egress ${unnamed.map((name) => `--add ${name.replace(/:[0-9]+$/, '')}`).join(' ')}`
      : `The operator of this worker does not let jobs reach ${shown.join(', ')} (HIVESYNC_WORKER_ALLOW_HOSTS).`
  return new InstallRefused('egress_refused', message)
}

type Members = Readonly<Record<string, unknown>>

function packagesOf(lockfile: string): [place: string, entry: Members][] {
  let parsed: unknown
  try {
    parsed = JSON.parse(lockfile)
  } catch {
    throw refuse('package-lock.json is not valid JSON.')
  }
  const packages = isMembers(parsed) ? parsed.packages : undefined
  if (!isMembers(packages))
    throw refuse('package-lock.json has no list of packages: it must be of lockfileVersion 2 or 3 (npm 7 or later).')
  return Object.entries(packages).map(([place, entry]) => {
    if (!isMembers(entry)) throw refuse('package-lock.json has an entry that is no object.')
    return [place, entry]
  })
}

/** Where a package is fetched from; undefined for what lies in the bundle itself. */
function findHost(place: string, entry: Members): { name: string; port: number } | undefined {
  const name = nameOf(place)
  const { resolved, integrity } = entry
  const isLocal = entry.link === true || entry.inBundle === true || !/(^|\/)node_modules\//.test(place)
  if (resolved === undefined && isLocal) return undefined
  if (typeof resolved === 'string' && (entry.link === true || resolved.startsWith('file:'))) return undefined
  // Also where no address is given: npm then asks the registry, and this is all that ties its answer down.
  if (typeof integrity !== 'string' || !/^sha(256|384|512)-/.test(integrity))
    throw refuse(`The package ${name} has no digest (integrity) in package-lock.json: whatever came would be run.`)
  if (resolved === undefined) return { name: 'registry.npmjs.org', port: 443 }
  const url = typeof resolved === 'string' ? URL.parse(resolved) : null
  if (url === null) throw refuse(`The package ${name} has an address that cannot be read.`)
  if (url.protocol !== 'https:')
    throw refuse(`The package ${name} comes over ${protocolOf(url)}; installs take packages over https only.`)
  if (url.username !== '' || url.password !== '') throw refuse(`The address of the package ${name} holds credentials.`)
  return { name: url.hostname, port: url.port === '' ? 443 : Number(url.port) }
}

function protocolOf(url: URL): string {
  return /^[a-z+]{1,20}:$/.test(url.protocol) ? url.protocol.slice(0, -1) : 'something else'
}

function nameOf(place: string): string {
  const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length)
  return /^[@A-Za-z0-9._/-]{1,100}$/.test(name) ? name : '(of an unusual name)'
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const refuse = (message: string): InstallRefused => new InstallRefused('lockfile_refused', message)
