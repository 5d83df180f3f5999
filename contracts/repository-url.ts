/** A repository as the user named it, once its syntax is proven harmless. */
export type RepositoryUrl =
  | { kind: 'https'; url: string; host: string; port: number; hostKind: 'name' | 'single-label' | 'ipv4' | 'ipv6' }
  | { kind: 'file'; path: string }

export type RepositoryRefusalCode =
  | 'empty'
  | 'too_long'
  | 'control_characters'
  | 'option_like'
  | 'remote_helper'
  | 'scp_like'
  | 'scheme_not_allowed'
  | 'malformed'
  | 'credentials'
  | 'query_or_fragment'
  | 'no_path'
  | 'host_not_allowed'
  | 'address_not_public'
  | 'local_not_allowed'
  | 'local_not_found'
  | 'local_not_readable'

/** The repository may not be ingested; `message` is fit for the user and repeats nothing of what was submitted. */
export class RepositoryRefused extends Error {
  readonly code: RepositoryRefusalCode

  constructor(code: RepositoryRefusalCode, message: string) {
    super(message)
    this.name = 'RepositoryRefused'
    this.code = code
  }
}

/** curl and every forge accept URLs of this length; anything longer is no repository's address. */
export const maxRepositoryUrlLength = 2048

/**
 * Reads `https://host[:port]/path` or `file:///absolute/path`, refusing everything git could take for an option, a
 * remote helper, a shell-like address or a credential. Pure syntax: whether the host or the folder may be reached is
 * judged by the worker. Throws RepositoryRefused.
 */
export function parseRepositoryUrl(text: string): RepositoryUrl {
  if (text === '') refuse('empty', 'Name a repository.')
  if (text.length > maxRepositoryUrlLength) {
    refuse('too_long', `A repository URL has at most ${maxRepositoryUrlLength} characters.`)
  }
  // Line breaks would split git's credential and remote-helper protocols (CVE-2020-5260); URL parsers drop some silently.
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s\\]/u.test(text) || !text.isWellFormed()) {
    refuse('control_characters', 'A repository URL holds no spaces, backslashes, control or invisible characters.')
  }
  if (text.startsWith('-')) refuse('option_like', 'A repository URL does not start with "-".') // git --upload-pack=…
  if (/^[a-z0-9+.-]+::/i.test(text)) refuse('remote_helper', 'Remote helpers (such as ext::) are not allowed.')
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme === 'https') return parseHttps(text)
  if (scheme === 'file') return parseFile(text)
  if (scheme !== undefined) refuse('scheme_not_allowed', 'Only https:// and allowed file:// repositories are ingested.')
  if (/^[^/]*:/.test(text)) refuse('scp_like', 'Write the repository as https://host/path.')
  refuse('malformed', 'Write the repository as https://host/path.')
}

function parseHttps(text: string): RepositoryUrl {
  const authority = /^https:\/\/([^/?#]*)/i.exec(text)?.[1] ?? ''
  // A token in the URL would end up in logs, the audit table and other members' screens.
  if (authority.includes('@')) refuse('credentials', 'A repository URL must not carry a user name, password or token.')
  if (/[?#]/.test(text)) refuse('query_or_fragment', 'A repository URL has no query and no fragment.')
  const url = URL.parse(text)
  if (!url || authority === '') refuse('malformed', 'Write the repository as https://host/path.')
  const host = url.hostname.replace(/\.$/, '')
  const port = url.port === '' ? 443 : Number(url.port)
  if (port === 0 || host === '') refuse('malformed', 'Write the repository as https://host/path.')
  if (url.pathname === '/') refuse('no_path', 'The repository URL names a host but no repository on it.')
  const path = url.pathname.startsWith('//')
    ? refuse('malformed', 'The path has an empty first segment.')
    : url.pathname
  const origin = port === 443 ? `https://${host}` : `https://${host}:${port}`
  return { kind: 'https', url: origin + path, host: host.replace(/^\[|\]$/g, ''), port, hostKind: hostKind(host) }
}

function hostKind(host: string): 'name' | 'single-label' | 'ipv4' | 'ipv6' {
  if (host.startsWith('[')) return 'ipv6'
  if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) return 'ipv4' // the URL parser has normalised every other notation to this
  // RFC 1123 names only: an odd host could mean one thing to the guard and another to curl.
  if (!/^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*$/.test(host)) {
    refuse('malformed', 'The host name is not valid.')
  }
  return host.includes('.') ? 'name' : 'single-label'
}

function parseFile(text: string): RepositoryUrl {
  const path = /^file:\/\/(\/.*)$/i.exec(text)?.[1]
  if (path === undefined) refuse('malformed', 'Write a local repository as file:///absolute/path.')
  // git percent-decodes file URLs, we do not: with both readings allowed, %2e%2e would be checked as one and opened as the other.
  if (/[%?#]/.test(path)) refuse('malformed', 'A local path has no "%", "?" or "#".')
  if (path.split('/').some((segment) => segment === '..' || segment === '.')) {
    refuse('local_not_allowed', 'A local path has no "." or ".." segment.')
  }
  return { kind: 'file', path }
}

function refuse(code: RepositoryRefusalCode, message: string): never {
  throw new RepositoryRefused(code, message)
}
