import type { SandboxResult } from '../sandbox/spec.ts'
import type { EgressDecision } from './egress-proxy.ts'
import { FetchFailed, type FetchFailureCode } from './fetch-failed.ts'

/** git's words (2.39 to 2.5x, LC_ALL=C) for each failure, first match wins; lines the server sent are left out before. */
const rules: readonly (readonly [RegExp, FetchFailureCode, retryable?: boolean])[] = [
  [/requested URL returned error: 30[1-8]\b|unable to update url base from redirection/, 'redirect_refused'],
  [/Authentication failed|could not read (Username|Password)|terminal prompts disabled/, 'authentication_required'],
  [/CONNECT tunnel failed, response 403|HTTP code 403 from proxy/, 'host_refused'],
  [/CONNECT tunnel failed, response 504|HTTP code 504 from proxy/, 'timeout'],
  [/requested URL returned error: (401|403|407)\b/, 'authentication_required'],
  [/requested URL returned error: (404|410)\b|repository '.*' not found/, 'repository_not_found'],
  [
    /does not appear to be a git repository|not valid: is this a git repository|not a git repository/,
    'repository_not_found',
  ],
  [/File too large|File size limit exceeded|died of signal 25|pack exceeds maximum allowed size/, 'too_large'],
  [/No space left/, 'fetch_failed'], // the worker's disk is full, another's may not be: no fault of the repository
  [/Operation too slow|Operation timed out|Timeout was reached|timed out/, 'timeout'],
  [/couldn't find remote ref|no such ref was fetched/, 'ref_not_found'],
  [
    /fsck error|fsckObjects|invalid (tree|commit|blob|tag) object|broken links|transport '.*' not allowed/,
    'repository_refused',
  ],
  [/server certificate verification failed|SSL certificate problem|certificate/, 'fetch_failed', false],
]

/** What the proxy refused during this run, if anything: it knows better than curl's summary does. */
export interface ProxyRefusal {
  reason: string
  code: 'host_refused' | 'timeout' | 'too_large' | 'fetch_failed'
}

/** What a decision of the egress proxy means for the ingest; undefined when it let the connection through. */
export function findProxyRefusal(decision: EgressDecision): ProxyRefusal | undefined {
  const { allowed, reason } = decision
  if (allowed) return undefined
  if (/^(resolve_time|idle|tunnel_time)$/.test(reason)) return { reason, code: 'timeout' }
  if (/^bytes_/.test(reason)) return { reason, code: 'too_large' }
  if (/^(name_not_resolved|connect_failed|tunnel_limit)$/.test(reason)) return { reason, code: 'fetch_failed' }
  return { reason, code: 'host_refused' }
}

/** The typed reason of a git command that did not succeed. Never repeats a URL, a host path or anything the server said. */
export function explainGitFailure(result: SandboxResult, stderr: string, proxy?: ProxyRefusal): FetchFailed {
  const said = gitWords(stderr)
  const last = said.at(-1)?.replace(/(?<![\w)])\/.*/, '(path)') // a local source's alternates name paths of the host
  const detail = proxy ? `proxy: ${proxy.reason}; ${last ?? ''}` : (last ?? exitText(result))
  const killed = result.receipt.killed
  if (killed === 'wall' || killed === 'cpu') return new FetchFailed('timeout', { detail })
  if (killed === 'memory' || killed === 'pids') return new FetchFailed('too_large', { detail: `killed: ${killed}` })
  if (killed === 'output') {
    return new FetchFailed('repository_refused', { message: 'The server sent more than a repository needs.', detail })
  }
  if (proxy) return new FetchFailed(proxy.code, { detail })
  if (result.signal === 'SIGXFSZ' || result.exitCode === 153) return new FetchFailed('too_large', { detail })
  const text = said.join('\n')
  for (const [pattern, code, retryable] of rules) {
    if (pattern.test(text)) return new FetchFailed(code, { detail, ...(retryable !== undefined && { retryable }) })
  }
  return new FetchFailed('fetch_failed', { detail })
}

/** git's own error lines: progress and whatever the remote side printed are dropped, so a server cannot choose the reason. */
function gitWords(stderr: string): string[] {
  const lines = stderr.split(/[\r\n]+/).filter((line) => /^(fatal|error|warning): (?!remote error)/.test(line))
  return lines.map((line) => line.replace(/'[^']*:\/\/[^']*'/g, "'(url)'"))
}

function exitText(result: SandboxResult): string {
  return result.signal ? `signal ${result.signal}` : `exit ${result.exitCode}`
}
