import type { BodyOf } from '@hivesync/contracts/endpoint.ts'
import { replayWebhook } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { formatCount, parseSeconds } from '../../units.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

type Request = BodyOf<typeof replayWebhook>

export const replay = defineCommand({
  name: 'webhook replay',
  summary: 'deliver again: one delivery, what failed or was skipped lately, or everything of a while',
  usage: 'WEBHOOK [DELIVERY | --failed TIME | --all TIME]',
  notes: ['A receiver sees the same message id as before, and may leave out what it has had.'],
  options: {
    failed: {
      type: 'string',
      value: 'TIME',
      summary: 'what failed or was skipped in the last 2h, 7d … or since a time',
    },
    all: { type: 'string', value: 'TIME', summary: 'everything of the last 2h, 7d … or since a time' },
    team: teamOption,
  },
  arguments: [1, 2],
  async run(context) {
    const [named = '', deliveryId] = context.arguments
    const body = readRequest(deliveryId, context.options, context.machine.now())
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, named)
    const outcome = await client.call(replayWebhook, { params, body })
    if (outcome.next !== null)
      await context.terminal.note(
        `There is more: when these are delivered ask again, with ${outcome.next} as the time.`,
      )
    return { json: outcome, lines: [`${formatCount(outcome.replayed)} deliveries are on their way again.`] }
  },
})

function readRequest(
  deliveryId: string | undefined,
  { failed, all }: { failed: string | undefined; all: string | undefined },
  now: number,
): Request {
  const since = (text: string, option: string): string =>
    /^\d{4}-\d\d-\d\dT/.test(text) ? text : new Date(now - parseSeconds(text, option) * 1000).toISOString()
  if ([deliveryId, failed, all].filter((each) => each !== undefined).length !== 1)
    throw usageError('What shall be delivered again?', 'Say a delivery’s id, --failed TIME or --all TIME')
  if (deliveryId !== undefined) return { deliveryId }
  if (failed !== undefined) return { failedSince: since(failed, '--failed') }
  return { from: since(all ?? '', '--all'), to: new Date(now).toISOString() }
}
