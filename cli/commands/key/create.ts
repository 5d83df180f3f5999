import { scopes } from '@hivesync/contracts/access.ts'
import { createApiKey } from '@hivesync/contracts/api-keys.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { findNearest } from '../../nearest.ts'
import { requireProject } from '../../project-choice.ts'
import { formatAge, parseCount, parseSeconds } from '../../units.ts'

export const create = defineCommand({
  name: 'key create',
  summary: 'make an API key for a script or a machine; it can do no more than you',
  usage: 'NAME --scope SCOPE',
  notes: [
    'Prints the key alone on standard output, this once: pipe it to where it is kept.',
    `Scopes: ${scopes.join(', ')}.`,
  ],
  options: {
    scope: { type: 'string', multiple: true, short: 's', value: 'SCOPE', summary: 'what it may do; may be repeated' },
    project: { type: 'string', short: 'p', value: 'PROJECT', summary: 'name or id: it reaches this project alone' },
    expires: { type: 'string', value: 'TIME', summary: 'how long it lives: 90d unless given, 400d at most' },
    limit: { type: 'string', value: 'NUMBER', summary: 'requests per hour: 1000 unless given' },
  },
  arguments: [1, 1],
  async run(context) {
    const { options, machine, terminal } = context
    const [name = ''] = context.arguments
    const now = machine.now()
    const body = {
      name,
      scopes: options.scope.map(readScope),
      expiresAt:
        options.expires === undefined
          ? undefined
          : new Date(now + parseSeconds(options.expires, '--expires') * 1000).toISOString(),
      rateLimitPerHour:
        options.limit === undefined ? undefined : parseCount(options.limit, '--limit', { min: 1, max: 100_000 }),
    }
    if (body.scopes.length === 0) throw usageError('What may the key do?', 'Say --scope read, or another scope')
    const connection = await connect(context)
    const projectId = options.project === undefined ? undefined : (await requireProject(connection, options.project)).id
    const key = await connection.client.call(createApiKey, { body: { ...body, projectId } })
    const expiry = key.expiresAt === null ? '' : `, expires ${formatAge(key.expiresAt, now)}`
    await terminal.note(`Key ${key.name} (${key.id})${expiry}. It is shown this once:`)
    return { json: key, lines: [key.apiKey] }
  },
})

function readScope(text: string): (typeof scopes)[number] {
  const scope = scopes.find((each) => each === text)
  if (scope !== undefined) return scope
  const nearest = findNearest(text, scopes)
  throw usageError(
    `There is no scope ${text}`,
    nearest === undefined ? `Scopes: ${scopes.join(', ')}` : `Did you mean ${nearest}?`,
  )
}
