#!/usr/bin/env node
import type { Command } from '@hivesync/cli/command.ts'
import type { Check } from '@hivesync/cli/doctor.ts'

// Nothing of ours is imported before this: an older Node would stop at the first thing it does not know.
const [major = 0] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(`hivesync needs Node.js 24 or newer; this is ${process.versions.node}.\n`)
  process.exitCode = 78
} else {
  await cacheCode()
  const { main } = await import('@hivesync/cli/main.ts')
  process.exitCode = await main(process.argv.slice(2), await operatorCommands())
}

/** Keeps compiled code between runs: 0.27 s instead of 0.52 s for `hivesync help` (measured). In the user's own folder, for what lies in a shared one anybody could have put there. */
async function cacheCode(): Promise<void> {
  const { enableCompileCache } = await import('node:module')
  const { homedir } = await import('node:os')
  const { join } = await import('node:path')
  if (process.env.NODE_COMPILE_CACHE === undefined) {
    enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hivesync'))
  }
}

/** The commands that are the server or the worker; each loads its part only when it runs. */
async function operatorCommands(): Promise<Command[]> {
  const { defineCommand } = await import('@hivesync/cli/command.ts')
  return [
    defineCommand({
      name: 'serve',
      summary: 'run the server',
      usage: '',
      notes: ['Settings come from the environment (HIVESYNC_…). `npm start` runs the server and a worker together.'],
      options: {},
      async run(context) {
        const { serveCommand } = await import('@hivesync/server/commands/serve.ts')
        return { exitCode: await serveCommand(context.arguments) }
      },
    }),
    defineCommand({
      name: 'worker start',
      summary: 'run a worker on this machine until it is told to stop',
      usage: '',
      notes: [
        'Settings come from the environment: HIVESYNC_WORKER_SERVER, and at the first start HIVESYNC_WORKER_TOKEN or',
        'HIVESYNC_WORKER_TOKEN_FILE with the token of `hivesync worker enrol`.',
        'Ctrl-C lets running jobs finish for 30 s; a second one stops at once. Ends with 77 when the server has cut it off.',
      ],
      options: {},
      async run() {
        const { runWorker } = await import('@hivesync/worker/main.ts')
        return { exitCode: await runWorker() }
      },
    }),
    defineCommand({
      name: 'doctor',
      summary: 'check this machine: credentials, server, and the sandbox of a worker',
      usage: '',
      options: { 'no-worker': { type: 'boolean', summary: 'leave out what only a worker needs' } },
      async run(context) {
        const { checkClient, checksOutcome } = await import('@hivesync/cli/doctor.ts')
        const node: Check = { name: 'node', ok: true, detail: process.versions.node, fix: null }
        const worker = context.options['no-worker'] ? [] : await checkWorker()
        return checksOutcome([node, ...(await checkClient(context)), ...worker])
      },
    }),
  ]
}

/** What a worker needs: git, and a sandbox out of which the escape table finds no way. */
async function checkWorker(): Promise<Check[]> {
  const { check } = await import('@hivesync/cli/doctor.ts')
  const { execFile } = await import('node:child_process')
  const { promisify } = await import('node:util')
  const git = await check('git', async () => (await promisify(execFile)('git', ['--version'])).stdout.trim())
  return [git, await checkSandbox()]
}

async function checkSandbox(): Promise<Check> {
  const { openSandbox } = await import('@hivesync/worker/sandbox/sandbox.ts')
  const { proveIsolation } = await import('@hivesync/worker/sandbox/self-test.ts')
  const { SandboxUnavailable } = await import('@hivesync/worker/sandbox/unavailable.ts')
  try {
    const sandbox = await openSandbox({ slots: 1 })
    try {
      const { level, checks } = await proveIsolation(sandbox)
      const holes = checks.filter(({ blocked }) => !blocked).map(({ name }) => name)
      const detail = `isolation ${level}; ${checks.length - holes.length} of ${checks.length} ways out are blocked`
      return { name: 'sandbox', ok: level !== 'none', detail: [detail, ...holes].join(', not: '), fix: null }
    } finally {
      await sandbox.close()
    }
  } catch (error) {
    if (!(error instanceof SandboxUnavailable)) throw error
    return { name: 'sandbox', ok: false, detail: error.reason, fix: error.fix }
  }
}
