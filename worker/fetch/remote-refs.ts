import { FetchFailed } from './fetch-failed.ts'

/** The ref of a remote to ingest: its full name in the mirror (or a commit id), and its branch name when it is one. */
export interface WantedRef {
  revision: string
  branch: string | null
}

/** git-check-ref-format(1), and no leading "-" or "refs/" of other kinds: the text reaches git as an argument. */
const refPattern = /^(?![-/.])(?!.*(\.\.|\/\/|\/\.|@\{|\.lock(\/|$)))[^\p{Cc}\s~^:?*[\\]{1,255}(?<![/.])$/u
const commitPattern = /^([0-9a-f]{40}|[0-9a-f]{64})$/

/** Which refs to ask `git ls-remote` for. */
export const remoteRefPatterns = ['HEAD', 'refs/heads/*', 'refs/tags/*'] as const

/**
 * Chooses what to ingest from the output of `git ls-remote --symref`: the named branch, tag or full commit id (in this
 * order), or else the remote's default branch. Throws FetchFailed `repository_empty` or `ref_not_found`.
 */
export function chooseRef(listing: string, ref: string | undefined): WantedRef {
  const oids = new Map<string, string>()
  let head: string | undefined
  for (const line of listing.split('\n')) {
    const [value = '', name = ''] = line.split('\t')
    if (name === 'HEAD' && value.startsWith('ref: ')) head = value.slice('ref: '.length)
    else if (commitPattern.test(value)) oids.set(name, value)
  }
  const branches = [...oids.keys()].filter((name) => name.startsWith('refs/heads/'))
  if (ref !== undefined) return findNamed(ref, oids)
  if (branches.length === 0) throw new FetchFailed('repository_empty')
  return branchOf(chooseDefault(branches, oids, head))
}

function findNamed(ref: string, oids: ReadonlyMap<string, string>): WantedRef {
  const isKnown = (name: string) => refPattern.test(ref) && oids.has(name)
  const branch = ref.startsWith('refs/heads/') ? ref : `refs/heads/${ref}`
  if (isKnown(branch)) return branchOf(branch)
  const tag = ref.startsWith('refs/tags/') ? ref : `refs/tags/${ref}`
  if (isKnown(tag)) return { revision: tag, branch: null }
  if (commitPattern.test(ref)) return { revision: ref, branch: null }
  throw new FetchFailed('ref_not_found')
}

/** A HEAD that is detached, or names a branch that is gone, still means one of the branches to a person. */
function chooseDefault(
  branches: readonly string[],
  oids: ReadonlyMap<string, string>,
  head: string | undefined,
): string {
  const candidates = [
    head,
    branches.find((name) => oids.get(name) === oids.get('HEAD')),
    'refs/heads/main',
    'refs/heads/master',
    branches[0],
  ]
  const found = candidates.find((name) => name !== undefined && branches.includes(name))
  if (found === undefined || !refPattern.test(found)) throw new FetchFailed('ref_not_found')
  return found
}

function branchOf(revision: string): WantedRef {
  return { revision, branch: revision.slice('refs/heads/'.length) }
}
