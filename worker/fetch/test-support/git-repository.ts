import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const env = {
  PATH: '/usr/local/bin:/usr/bin:/bin',
  HOME: '/nonexistent',
  LC_ALL: 'C.UTF-8',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'A',
  GIT_AUTHOR_EMAIL: 'a@example.org',
  GIT_COMMITTER_NAME: 'A',
  GIT_COMMITTER_EMAIL: 'a@example.org',
  GIT_AUTHOR_DATE: '2024-01-01T00:00:00Z',
  GIT_COMMITTER_DATE: '2024-01-01T00:00:00Z',
}

/** A folder of its own that sandbox users may pass through, removed when the scope ends. */
export async function makeFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'hs-fetch-test-'))
  await chmod(path, 0o755)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** Bytes that no compression makes smaller. */
export function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let from = 0; from < length; from += 65_536) crypto.getRandomValues(bytes.subarray(from, from + 65_536))
  return bytes
}

/** A real bare repository built object by object, so that it can hold what a worktree cannot. */
export async function makeRepository(path: string) {
  const git = async (args: readonly string[], input?: string | Buffer): Promise<string> => {
    const child = run('git', ['--git-dir', path, ...args], { env, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
    child.child.stdin?.on('error', () => undefined) // a git that ended without reading; its exit code tells the rest
    child.child.stdin?.end(input ?? '')
    return (await child).stdout.trim()
  }
  await mkdir(dirname(path), { recursive: true })
  await git(['init', '--quiet', '--bare', '--initial-branch=main', path])
  const blob = (content: string | Buffer) => git(['hash-object', '-w', '--stdin'], content)
  /** Entries as `mode type oid<TAB>name`; names may be any bytes but NUL. */
  const tree = (entries: readonly { mode: string; oid: string; name: string | Buffer }[]) => {
    const kind = (mode: string) => (mode === '040000' ? 'tree' : mode === '160000' ? 'commit' : 'blob')
    const records = entries.map((entry) =>
      Buffer.concat([
        Buffer.from(`${entry.mode} ${kind(entry.mode)} ${entry.oid}\t`),
        Buffer.from(entry.name),
        Buffer.of(0),
      ]),
    )
    return git(['mktree', '-z', '--missing'], Buffer.concat(records))
  }
  const commitTree = async (treeOid: string, ref = 'refs/heads/main'): Promise<string> => {
    const parent = await git(['rev-parse', '--verify', '--quiet', ref]).catch(() => '')
    const commit = await git(['commit-tree', treeOid, '-m', 'm', ...(parent ? ['-p', parent] : [])])
    await git(['update-ref', ref, commit])
    return commit
  }
  /** Commits exactly these files (paths may have folders). */
  const commitFiles = async (files: Readonly<Record<string, string | Buffer>>, ref?: string): Promise<string> => {
    const index = join(path, 'test-index')
    const lines = await Promise.all(
      Object.entries(files).map(async ([name, text]) => `100644 ${await blob(text)}\t${name}\0`),
    )
    const withIndex = { ...env, GIT_INDEX_FILE: index }
    const child = run('git', ['--git-dir', path, 'update-index', '-z', '--index-info'], { env: withIndex })
    child.child.stdin?.end(lines.join(''))
    await child
    const written = await run('git', ['--git-dir', path, 'write-tree'], { env: withIndex })
    await rm(index)
    return await commitTree(written.stdout.trim(), ref)
  }
  return { path, git, blob, tree, commitTree, commitFiles }
}

export type TestRepository = Awaited<ReturnType<typeof makeRepository>>

/** Makes a repository's hook that would leave a trace if anything ran it. */
export async function addHook(repository: TestRepository, name: string, tracePath: string): Promise<void> {
  await mkdir(join(repository.path, 'hooks'), { recursive: true })
  await writeFile(join(repository.path, 'hooks', name), `#!/bin/sh\ntouch ${tracePath}\n`, { mode: 0o755 })
}
