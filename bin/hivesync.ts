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
  const { auditCommands } = await import('./audit-commands.ts')
  return [
    ...(await passwordCommands()),
    ...(await auditCommands()),
    await importQueueCommand(),
    ...(await backupCommands()),
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
        'Ctrl-C lets running jobs finish for 30 s (HIVESYNC_WORKER_DRAIN_SECONDS); a second one stops at once. Ends with 77 when the',
        'server has cut it off, 76 when its key has expired, 69 when it was idle for as long as it may (HIVESYNC_WORKER_EXIT_WHEN_IDLE_SECONDS)',
        'on a machine that can run no jobs. After the server has moved: HIVESYNC_WORKER_MOVED_FROM with its former address, once.',
      ],
      options: {},
      async run() {
        const { runWorker } = await import('@hivesync/worker/main.ts')
        return { exitCode: await runWorker() }
      },
    }),
    defineCommand({
      name: 'worker rotate-key',
      summary: 'change the key of the worker of this machine',
      usage: '',
      notes: [
        'Reads the settings of `hivesync worker start`. A worker that runs does it at its next poll, within half a minute.',
        'Workers change their keys by themselves after 60 of 90 days. From elsewhere: hivesync worker request-rotation',
      ],
      options: {},
      async run() {
        const { rotateOwnKey } = await import('@hivesync/worker/rotate-own-key.ts')
        return rotateOwnKey()
      },
    }),
    defineCommand({
      name: 'doctor',
      summary: 'check this machine: credentials, server, and the sandbox of a worker',
      usage: '',
      options: {
        'no-worker': { type: 'boolean', summary: 'leave out what only a worker needs' },
        server: {
          type: 'boolean',
          summary: 'what makes the server safer or less so, for its admins (`admin posture`)',
        },
      },
      async run(context) {
        if (context.options.server) {
          const { showPosture } = await import('@hivesync/cli/commands/admin/posture.ts')
          return showPosture(context)
        }
        const { checkClient, checksOutcome } = await import('@hivesync/cli/doctor.ts')
        const node: Check = { name: 'node', ok: true, detail: process.versions.node, fix: null }
        const worker = context.options['no-worker'] ? [] : await checkWorker()
        return checksOutcome([node, ...(await checkClient(context)), ...worker])
      },
    }),
  ]
}

/** Takes over what waits in the queue of a system that came before. */
async function importQueueCommand(): Promise<Command> {
  const { defineCommand } = await import('@hivesync/cli/command.ts')
  return defineCommand({
    name: 'admin import-queue',
    summary: 'import the waiting tasks of another queue into a project',
    usage: 'FILE --project ID',
    notes: [
      'JSON lines or one JSON array; each task is a repository’s address as a string, or an object: repo_url (or repository, or url), and if wanted ref,',
      'submitted_at (ISO 8601, or seconds since 1970) and ttl in seconds. A task without a time counts from the import; one past its time to live is recorded as skipped.',
      'The same file again imports nothing twice. Tasks take places beyond the project’s cap. On SQLite the server must be stopped.',
    ],
    options: {
      project: { type: 'string', short: 'p', value: 'ID', summary: 'the project that gets them' },
      'skip-bad': { type: 'boolean', summary: 'leave out what cannot be imported, instead of importing nothing' },
    },
    arguments: [1, 1],
    async run({ arguments: [file = ''], options }) {
      const { importQueueCommand } = await import('@hivesync/server/commands/import-queue.ts')
      return importQueueCommand(file, { project: options.project, skipBad: options['skip-bad'] })
    },
  })
}

/** Keeping a copy of everything, on the server's machine. */
async function backupCommands(): Promise<Command[]> {
  const { defineCommand } = await import('@hivesync/cli/command.ts')
  return [
    defineCommand({
      name: 'backup',
      summary: 'write everything this server holds into one encrypted file',
      usage: '[--verify] FILE',
      notes: [
        'Reads the settings of `hivesync serve`; the server may go on working. The file opens with HIVESYNC_SECRET (or data/secret) alone, which is not in it.',
        'A backup of SQLite can be restored into PostgreSQL, and the other way round.',
      ],
      options: {
        verify: {
          type: 'boolean',
          summary: 'restore FILE into a folder that is thrown away, and say whether all of it is there and opens',
        },
      },
      arguments: [1, 1],
      async run({ arguments: [file = ''], options }) {
        const { backupCommand, verifyBackupCommand } = await import('@hivesync/server/commands/backup.ts')
        return options.verify ? verifyBackupCommand(file) : backupCommand(file)
      },
    }),
    defineCommand({
      name: 'restore',
      summary: 'fill an empty server from a backup',
      usage: 'FILE',
      notes: [
        'Reads the settings of `hivesync serve`, which must not run. The database must have no accounts. Everybody signs in again.',
        'On PostgreSQL it is done by the role in HIVESYNC_DATABASE_MIGRATION_URL, where there is one.',
      ],
      options: {},
      arguments: [1, 1],
      async run(context) {
        const { restoreCommand } = await import('@hivesync/server/commands/backup.ts')
        return restoreCommand(context.arguments[0] ?? '')
      },
    }),
  ]
}

/** What the operator does about passwords, on the server's machine. */
async function passwordCommands(): Promise<Command[]> {
  const { defineCommand } = await import('@hivesync/cli/command.ts')
  return [
    defineCommand({
      name: 'admin import-users',
      summary: 'import people and their password hashes from another system',
      usage: 'FILE',
      notes: [
        'One JSON object a line: email, username, passwordHash (SHA-256 in hex, or bcrypt), and if wanted isAdmin and createdAt (ISO 8601).',
        'One bad line stops it before anything is stored. Who is there already is left out. On SQLite the server must be stopped.',
      ],
      options: {},
      arguments: [1, 1],
      async run(context) {
        const { importUsersCommand } = await import('@hivesync/server/commands/import-users.ts')
        return importUsersCommand(context.arguments[0] ?? '')
      },
    }),
    defineCommand({
      name: 'admin calibrate',
      summary: 'measure this machine and print the HIVESYNC_PASSWORD_COST for it',
      usage: '',
      options: {
        'target-ms': { type: 'string', value: 'MS', summary: 'how long one hash may take; 250 unless given' },
        'max-memory': {
          type: 'string',
          value: 'MIB',
          summary: 'how much memory one hash may take; at most 256 unless given',
        },
      },
      async run({ options }) {
        const { calibrateCommand } = await import('@hivesync/server/commands/calibrate.ts')
        return calibrateCommand({ targetMs: options['target-ms'], maxMemoryMib: options['max-memory'] })
      },
    }),
    defineCommand({
      name: 'admin build-blocklist',
      summary: 'make the file for HIVESYNC_PASSWORD_BLOCKLIST of a list of passwords',
      usage: 'LIST OUT',
      notes: [
        'One password a line, or its SHA-1 in hex, with or without `:count`, as breach lists are published. Nothing is asked of the network.',
        'Takes 40 bytes of memory per entry and at most 50 million entries.',
      ],
      options: {},
      arguments: [2, 2],
      async run(context) {
        const { buildBlocklistCommand } = await import('@hivesync/server/commands/build-blocklist.ts')
        return buildBlocklistCommand(context.arguments[0] ?? '', context.arguments[1] ?? '')
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
