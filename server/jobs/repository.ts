import { parseRepositoryUrl, RepositoryRefused, type RepositoryUrl } from '@hivesync/contracts/repository-url.ts'
import ipaddr from 'ipaddr.js'
import { AppError } from '../platform/errors.ts'

/**
 * Refuses at submission what no worker would fetch: anything git could take for an option or a helper, credentials, schemes other
 * than https, literal addresses that are not public, folders outside HIVESYNC_LOCAL_REPOS. Names are judged by the worker
 * after it has resolved them (a name says nothing about the address behind it).
 */
export function refuseRepository(text: string, localRepos: readonly string[]): void {
  const repository = parse(text)
  if (repository.kind === 'file') {
    const inside = localRepos.some(
      (folder) => repository.path === folder || repository.path.startsWith(`${folder.replace(/\/+$/, '')}/`),
    )
    if (!inside) throw refused('Folders are ingested only from below those listed in HIVESYNC_LOCAL_REPOS')
    return
  }
  const isLiteral = repository.hostKind === 'ipv4' || repository.hostKind === 'ipv6'
  if (isLiteral && !isPublic(repository.host)) throw refused('The address is not a public one')
  if (/(^|\.)localhost$/.test(repository.host)) throw refused('The host is this machine')
}

const globalUnicast = ipaddr.parseCIDR('2000::/3')

// IPv6 by what is allocated (RFC 4291 §2.4), not by what is reserved: ::127.0.0.1 and the like belong to no special range.
function isPublic(host: string): boolean {
  const address = ipaddr.process(host)
  return address.range() === 'unicast' && (address.kind() === 'ipv4' || address.match(globalUnicast))
}

function parse(text: string): RepositoryUrl {
  try {
    return parseRepositoryUrl(text)
  } catch (error) {
    if (error instanceof RepositoryRefused) throw refused(error.message)
    throw error
  }
}

function refused(message: string): AppError {
  return new AppError(
    'repository_refused',
    {},
    { detail: message, fields: [{ path: 'body/input/repository', message }] },
  )
}
