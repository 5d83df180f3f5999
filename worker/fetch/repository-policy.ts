import { realpath, stat } from 'node:fs/promises'
import { dirname, sep } from 'node:path'
import { parseRepositoryUrl, RepositoryRefused } from '@hivesync/contracts/repository-url.ts'
import { addressScope } from './address-guard.ts'

/** What the owner of this worker allows beyond public https hosts. */
export interface RepositoryPolicy {
  /** Exact `host:port` (IPv6 as `[::1]:8443`) whose address may be private, such as a forge in the owner's own network. */
  privateHosts: readonly string[]
  /** Absolute folders under which `file:` repositories may lie. */
  localRepos: readonly string[]
}

/** A repository this worker may fetch. A `path` is real: it holds no symlink. */
export type AllowedRepository =
  | { kind: 'https'; url: string; host: string; port: number }
  | { kind: 'file'; path: string }

/**
 * Decides whether the submitted text is a repository this worker may fetch; throws RepositoryRefused. Names are not
 * resolved here: the egress proxy checks every address at the moment of connecting, when it cannot change any more.
 */
export async function judgeRepository(text: string, policy: RepositoryPolicy): Promise<AllowedRepository> {
  const repository = parseRepositoryUrl(text)
  if (repository.kind === 'file')
    return { kind: 'file', path: await judgeLocalPath(repository.path, policy.localRepos) }
  const { url, host, port, hostKind } = repository
  if (!policy.privateHosts.includes(hostAndPort(host, port))) {
    if (hostKind === 'single-label' || /(^|\.)localhost$/.test(host)) {
      throw new RepositoryRefused('host_not_allowed', 'The host is not a public name.')
    }
    if (hostKind !== 'name' && addressScope(host) !== 'public') {
      throw new RepositoryRefused('address_not_public', 'The host is not a public address.')
    }
  }
  return { kind: 'https', url, host, port }
}

/** `host:port`, with brackets around an IPv6 address: the form of `privateHosts`. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Reads `host` or `host:port` as a worker's configuration has them; port 443 unless named. */
export function readHostAndPort(text: string): { host: string; port: number } {
  const [, host = text, port] = /^(.*):([0-9]+)$/.exec(text) ?? []
  // An address without brackets has colons of its own.
  if (host.includes(':') && !host.startsWith('[')) return { host: text, port: 443 }
  return { host: host.replace(/^\[|\]$/g, ''), port: port === undefined ? 443 : Number(port) }
}

/** Symlinks are resolved on both sides before comparing, so neither `..` nor a link placed under a prefix leads out of it. */
async function judgeLocalPath(path: string, prefixes: readonly string[]): Promise<string> {
  const real = await findRealPath(path)
  if (real === undefined) {
    // Outside the prefixes the answer is the same for what exists and what does not: no probing of the worker's disk.
    if (!prefixes.some((prefix) => isUnder(path, prefix))) throw notAllowed()
    throw new RepositoryRefused('local_not_found', 'There is no repository at this path.')
  }
  for (const prefix of prefixes) {
    const realPrefix = await findRealPath(prefix)
    if (realPrefix === undefined || realPrefix === sep || !isUnder(real, realPrefix)) continue
    if ((await stat(real)).isDirectory()) {
      await requireReadable(real)
      return real
    }
    throw new RepositoryRefused('local_not_found', 'There is no repository at this path.')
  }
  throw notAllowed()
}

/** A root worker's sandboxes are other users: without this check the owner would only see a mount that fails. */
async function requireReadable(path: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  for (let folder = path; folder !== sep; folder = dirname(folder)) {
    const wanted = folder === path ? 0o005 : 0o001
    if (((await stat(folder)).mode & wanted) === wanted) continue
    throw new RepositoryRefused('local_not_readable', 'The sandbox runs as another user, who cannot read this folder.')
  }
}

function notAllowed(): RepositoryRefused {
  return new RepositoryRefused(
    'local_not_allowed',
    'Local repositories are ingested only from folders the owner listed.',
  )
}

function isUnder(path: string, prefix: string): boolean {
  const folder = prefix.endsWith(sep) ? prefix.slice(0, -1) : prefix
  return path === folder || path.startsWith(folder + sep)
}

async function findRealPath(path: string): Promise<string | undefined> {
  try {
    return await realpath(path)
  } catch (error) {
    if (
      error instanceof Error &&
      'code' in error &&
      /^(ENOENT|ENOTDIR|EACCES|ELOOP|ENAMETOOLONG)$/.test(String(error.code))
    ) {
      return undefined
    }
    throw error
  }
}
