// `npm test [-- <file or folder> …]`: checks what the tests need, then runs them with node:test, whose totals come last.
import { spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { throughPassableFolder } from './prerequisites/passable-checkout.ts'
import { describeMissing, findMissing, isRequired, listPrerequisites } from './prerequisites/prerequisites.ts'

const rootDirectory = join(import.meta.dirname, '..')
const testRoots = ['contracts', 'protocol', 'sdk', 'server', 'start', 'worker', 'cli', 'bin', 'test']
const testTimeoutMs = 600_000 // a file that hangs fails by name instead of holding the run forever

/** Test files under the given files and folders, each once. */
function findTestFiles(paths: readonly string[]): string[] {
  const patterns = paths.map((path) => (path.endsWith('.ts') ? path : join(path, '**', '*.test.{ts,tsx}')))
  const options = { cwd: rootDirectory, exclude: ['**/node_modules/**'] }
  return [...new Set(patterns.flatMap((pattern) => globSync(pattern, options)))].sort()
}

async function checkPrerequisites(): Promise<boolean> {
  const missing = await findMissing(listPrerequisites(process.env))
  if (missing.length > 0) process.stdout.write(`${describeMissing(missing)}\n\n`)
  return missing.length === 0
}

const wanted = process.argv.slice(2)
const files = findTestFiles(wanted.length > 0 ? wanted : testRoots)
if (files.length === 0) {
  process.stderr.write(`no test files in: ${wanted.join(' ')}\n`)
  process.exit(1)
}
const isComplete = await checkPrerequisites()
if (!isComplete && isRequired(process.env)) process.exit(1)

const [program = '', ...args] = throughPassableFolder(rootDirectory, [
  process.execPath,
  '--test',
  '--test-reporter=spec',
  `--test-concurrency=${Math.max(2, availableParallelism() - 1)}`,
  `--test-timeout=${testTimeoutMs}`,
  ...files,
])
const runner = spawn(program, args, {
  cwd: rootDirectory,
  stdio: 'inherit',
  // The suites themselves must not skip what was found above and is gone now.
  env: { ...process.env, ...(isRequired(process.env) ? { HIVESYNC_TEST_REQUIRE_SERVICES: '1' } : {}) },
})
// Ctrl-C reaches the whole group; the runner is to report before this process ends.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => runner.kill('SIGTERM'))
runner.on('exit', (code) => {
  process.exitCode = code ?? 1
})
