import type { Sandbox, SandboxMount } from '../sandbox/spec.ts'
import { FetchFailed } from './fetch-failed.ts'
import { type GitAnswer, type GitRun, insidePaths, localUploadPack, runGit } from './git.ts'
import { explainGitFailure, type ProxyRefusal } from './git-failure.ts'
import { followGitProgress } from './git-progress.ts'
import { gitLimits, type IngestSettings } from './ingest-settings.ts'
import type { MirrorFolder } from './mirror-folder.ts'
import { chooseRef, remoteRefPatterns, type WantedRef } from './remote-refs.ts'
import type { AllowedRepository } from './repository-policy.ts'

export interface FetchOptions {
  sandbox: Sandbox
  repository: AllowedRepository
  settings: IngestSettings
  /** The filtering proxy's socket; only for https. */
  egressSocket?: string
  /** The last thing the proxy refused, to explain a failure by. */
  findProxyRefusal?: () => ProxyRefusal | undefined
  onProgress?: (percent: number, label: string) => void
  signal?: AbortSignal
}

export interface FetchedCommit {
  commit: string
  branch: string | null
  /** Whether the ref moved since the last fetch into this mirror; true on a first clone. */
  changed: boolean
}

/** Asks the remote for its refs and chooses the one to ingest; nothing is stored. Throws FetchFailed. */
export async function resolveRef(options: FetchOptions, ref: string | undefined): Promise<WantedRef> {
  const command = [
    'git',
    'ls-remote',
    '--symref',
    ...uploadPack(options),
    '--',
    urlInside(options),
    ...remoteRefPatterns,
  ]
  const answer = await runRemote(options, {
    command,
    mounts: [],
    limits: gitLimits(options.settings, { wallMs: options.settings.resolveTimeoutMs, outputBytes: 64 * 1024 * 1024 }),
  })
  if (!answer.succeeded) throw explain(options, answer)
  return chooseRef(answer.stdout, ref)
}

/**
 * Brings the mirror up to date and answers with the wanted commit. An existing mirror gets only the new objects; one that is
 * damaged, of another repository or over its size is thrown away and cloned afresh, once. Throws FetchFailed.
 */
export async function fetchMirror(
  options: FetchOptions,
  folder: MirrorFolder,
  wanted: WantedRef,
): Promise<FetchedCommit> {
  if (await folder.exists()) {
    const updated = await findUpdate(options, folder.repository, wanted)
    if (updated) return updated
    await folder.discard(folder.repository)
  }
  const path = await folder.prepareNew()
  try {
    await inspect(options, path, wanted)
    const commit = await fetchInto(options, path, wanted, 0)
    await folder.publish(path)
    return { commit, branch: wanted.branch, changed: true }
  } catch (error) {
    await folder.discard(path)
    throw error
  }
}

/** The commit after an incremental fetch; undefined when this mirror is of no use any more. */
async function findUpdate(options: FetchOptions, path: string, wanted: WantedRef): Promise<FetchedCommit | undefined> {
  const before = await inspect(options, path, wanted)
  if (!before || (before.packs > maxPacks && !(await repack(options, path)))) return undefined
  try {
    const commit = await fetchInto(options, path, wanted, before.bytes)
    return { commit, branch: wanted.branch, changed: commit !== before.commit }
  } catch (error) {
    if (!(error instanceof FetchFailed)) throw error
    // What a fresh clone would meet again is no fault of the mirror.
    if (error.code === 'too_large') return undefined
    // A ref the remote just named and that leads to nothing here may be a commit the disk lost.
    const mayBeDamage =
      error.code === 'fetch_failed' || (error.code === 'ref_not_found' && wanted.revision.startsWith('refs/'))
    if (!mayBeDamage || (await isSound(options, path))) throw error
    return undefined
  }
}

/**
 * The whole history of branches and tags. No `--filter`: a partial clone fetches missing objects when they are read, and reading
 * happens without a network; no `--depth`: a shallow mirror cannot be fetched into incrementally by any branch.
 */
async function fetchInto(options: FetchOptions, path: string, wanted: WantedRef, bytesBefore: number): Promise<string> {
  const { settings } = options
  const flags = [
    '--progress',
    '--atomic',
    '--prune',
    '--no-tags',
    '--no-write-fetch-head',
    '--no-recurse-submodules',
    '--force',
  ]
  const refspecs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
  const git = [
    'git',
    `--git-dir=${insidePaths.mirror}`,
    'fetch',
    ...flags,
    ...uploadPack(options),
    '--',
    urlInside(options),
  ]
  const answer = await runRemote(options, {
    // With SIGXFSZ ignored git says "File too large" where it would die of the file-size limit without a word.
    command: ['sh', '-c', 'trap "" XFSZ; exec "$@"', 'fetch', ...git, ...refspecs],
    mounts: [writableMirror(path)],
    limits: gitLimits(settings, {
      wallMs: settings.fetchTimeoutMs,
      fileBytes: Math.max(settings.maxMirrorBytes - bytesBefore, minPackBytes),
    }),
    ...(options.onProgress && { onStderr: followGitProgress(options.onProgress) }),
  })
  if (!answer.succeeded) throw explain(options, answer)
  const after = await inspect(options, path, wanted)
  if (!after) throw new FetchFailed('fetch_failed', { detail: 'mirror unreadable after fetch' })
  if (after.bytes > settings.maxMirrorBytes) throw new FetchFailed('too_large')
  if (after.commit === null) throw new FetchFailed('ref_not_found')
  return after.commit
}

const minPackBytes = 1024 * 1024
/** Each fetch adds a pack, and reads look through all of them; git's own gc.autoPackLimit is 50. */
const maxPacks = 50

/**
 * Makes an empty folder a bare repository, removes what a killed git left behind (locks would block the next fetch; the project's
 * lock is ours, so nobody holds them), and prints the size, the number of packs and the wanted commit. Exit 3: another repository's.
 */
const inspectScript = `set -eu; cd ${insidePaths.mirror}; export GIT_DIR=${insidePaths.mirror}
if [ ! -e HEAD ]; then git init --quiet --bare . && printf %s "$1" > hivesync-origin; fi
[ "$(cat hivesync-origin)" = "$1" ] || exit 3
git rev-parse --git-dir >/dev/null
find . -name '*.lock' -type f -delete
find objects -name 'tmp_*' -type f -delete
du -s --block-size=1 . | cut -f1
find objects/pack -name '*.pack' | wc -l
git rev-parse --verify --quiet --end-of-options "$2^{commit}" || echo none`

interface MirrorState {
  bytes: number
  packs: number
  commit: string | null
}

async function inspect(options: FetchOptions, path: string, wanted: WantedRef): Promise<MirrorState | undefined> {
  const answer = await runLocal(options, path, [inspectScript, 'inspect', originOf(options), wanted.revision])
  const [, bytes, packs, commit] = /^(\d+)\s+(\d+)\s+([0-9a-f]{40,64}|none)\s*$/.exec(answer.stdout) ?? []
  if (!answer.succeeded || commit === undefined) return undefined
  return { bytes: Number(bytes), packs: Number(packs), commit: commit === 'none' ? null : commit }
}

/** One pack of what the refs still reach; what was force-pushed away goes with the old packs. */
async function repack(options: FetchOptions, path: string): Promise<boolean> {
  const script = `git --git-dir=${insidePaths.mirror} repack -a -d -q`
  return (await runLocal(options, path, [script, 'repack'])).succeeded
}

async function isSound(options: FetchOptions, path: string): Promise<boolean> {
  const script = `git --git-dir=${insidePaths.mirror} fsck --connectivity-only --no-dangling`
  return (await runLocal(options, path, [script, 'fsck'])).succeeded
}

async function runLocal(options: FetchOptions, path: string, script: readonly string[]): Promise<GitAnswer> {
  const { settings } = options
  return await runGit(options.sandbox, {
    command: ['sh', '-c', ...script],
    protocol: 'none',
    mounts: [writableMirror(path)],
    limits: gitLimits(settings, { wallMs: settings.fetchTimeoutMs, fileBytes: settings.maxMirrorBytes }),
    ...(options.signal && { signal: options.signal }),
  })
}

type RemoteRun = Pick<GitRun, 'command' | 'mounts' | 'limits' | 'onStderr'>

async function runRemote(options: FetchOptions, run: RemoteRun): Promise<GitAnswer> {
  const { repository, settings, egressSocket, signal } = options
  const mounts = [...run.mounts]
  if (repository.kind === 'file') mounts.push({ from: repository.path, to: insidePaths.source })
  else if (settings.caFile) mounts.push({ from: settings.caFile, to: insidePaths.caFile })
  return await runGit(options.sandbox, {
    ...run,
    mounts,
    protocol: repository.kind,
    hasCaFile: settings.caFile !== undefined,
    stallSeconds: settings.stallSeconds,
    ...(egressSocket !== undefined && { egressSocket }),
    ...(signal && { signal }),
  })
}

function explain(options: FetchOptions, answer: GitAnswer): FetchFailed {
  return explainGitFailure(answer.result, answer.stderr, options.findProxyRefusal?.())
}

function writableMirror(path: string): SandboxMount {
  return { from: path, to: insidePaths.mirror, writable: true, lent: true }
}

function urlInside({ repository }: FetchOptions): string {
  return repository.kind === 'https' ? repository.url : `file://${insidePaths.source}`
}

/** What the mirror was cloned from: a project given another repository must not keep the first one's objects. */
function originOf({ repository }: FetchOptions): string {
  return repository.kind === 'https' ? repository.url : `file://${repository.path}`
}

function uploadPack({ repository }: FetchOptions): string[] {
  return repository.kind === 'file' ? [localUploadPack] : []
}
