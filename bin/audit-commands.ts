import type { Command } from '@hivesync/cli/command.ts'

/** What is done about the audit log on the server's machine, or on any with an export of it. */
export async function auditCommands(): Promise<Command[]> {
  const { defineCommand } = await import('@hivesync/cli/command.ts')
  return [
    defineCommand({
      name: 'audit verify',
      summary: 'find out whether anybody has tampered with the audit log',
      usage: '',
      notes: [
        'Reads the configured database, also while the server works, or with --export a file alone. Ends with 0 for a log that is whole,',
        '1 for one that was tampered with, naming the first leaf, and 2 where that cannot be judged.',
        'Give it a checkpoint that was kept elsewhere (hivesync audit head): nothing else shows that the end was cut off.',
      ],
      options: {
        checkpoint: { type: 'string', value: 'FILE', summary: 'a checkpoint that was kept elsewhere' },
        export: {
          type: 'string',
          value: 'FILE',
          summary: 'the file of `hivesync audit export` instead of the database',
        },
        key: { type: 'string', value: 'KEY', summary: 'the verifier key that counts, or a file with one a line' },
      },
      async run({ options }) {
        const { auditVerifyCommand } = await import('@hivesync/server/commands/audit-verify.ts')
        return auditVerifyCommand(options)
      },
    }),
    defineCommand({
      name: 'audit export',
      summary: 'write the audit log into a file that proves itself',
      usage: 'FILE',
      notes: ['Reads the configured database, also while the server works. What is personal stays sealed in it.'],
      options: {},
      arguments: [1, 1],
      async run(context) {
        const { auditExportCommand } = await import('@hivesync/server/commands/audit-export.ts')
        return auditExportCommand(context.arguments[0] ?? '')
      },
    }),
    defineCommand({
      name: 'audit prune',
      summary: 'remove old events of the audit log, and keep what proves the rest',
      usage: '',
      notes: [
        'Uses HIVESYNC_DATABASE_MAINTENANCE_URL where it is set: the server’s own role may not. On SQLite the server must be stopped, and does it itself',
        'where HIVESYNC_AUDIT_RETENTION_DAYS is set.',
      ],
      options: {
        days: {
          type: 'string',
          value: 'DAYS',
          summary: 'how long events are kept; HIVESYNC_AUDIT_RETENTION_DAYS unless given',
        },
      },
      async run({ options }) {
        const { auditPruneCommand } = await import('@hivesync/server/commands/audit-prune.ts')
        return auditPruneCommand(options.days)
      },
    }),
    defineCommand({
      name: 'admin database-role',
      summary: 'make the PostgreSQL role that the server is to run as',
      usage: '--name NAME',
      notes: [
        'It works with every table, changes no schema, and of the audit log it can only read and add. Run it as the owner of the tables, and again whenever',
        'rights were changed by hand; updates give the role its rights themselves.',
      ],
      options: { name: { type: 'string', value: 'NAME', summary: 'such as hivesync_runtime' } },
      async run({ options }) {
        const { databaseRoleCommand } = await import('@hivesync/server/commands/database-role.ts')
        return databaseRoleCommand(options.name)
      },
    }),
  ]
}
