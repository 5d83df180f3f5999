import { type DeliveryAttempt, getDelivery, listDeliveries } from '@hivesync/contracts/webhooks.ts'
import { defineCommand } from '../../command.ts'
import { connect } from '../../context.ts'
import { usageError } from '../../failure.ts'
import { fieldLines, tableLines } from '../../table.ts'
import type { Line } from '../../terminal.ts'
import { requireWebhook, teamOption } from '../../webhook-choice.ts'

const states = ['pending', 'succeeded', 'failed', 'skipped'] as const

export const deliveries = defineCommand({
  name: 'webhook deliveries',
  summary: 'the newest 50 deliveries of a webhook, or one with what was sent and what came back',
  usage: 'WEBHOOK [DELIVERY]',
  options: {
    state: { type: 'string', value: states.join('|'), summary: 'only these' },
    team: teamOption,
  },
  arguments: [1, 2],
  async run(context) {
    const [named = '', deliveryId] = context.arguments
    const state = states.find((each) => each === context.options.state)
    if (context.options.state !== undefined && state === undefined)
      throw usageError(`--state is one of: ${states.join(', ')}`)
    const { client } = await connect(context)
    const { params } = await requireWebhook(client, context.options.team, named)
    if (deliveryId !== undefined) {
      const delivery = await client.call(getDelivery, { params: { ...params, deliveryId } })
      const head = [`Delivery ${delivery.id} (${delivery.type}) is ${delivery.state}`, `  ${delivery.payload}`]
      return { json: delivery, lines: [...head, ...delivery.attemptLog.flatMap(attemptLines)] }
    }
    const { items, nextCursor } = await client.call(listDeliveries, { params, query: { state } })
    const rows = items.map((each) => [
      each.id,
      each.type,
      each.state,
      String(each.attempts),
      each.lastError ?? String(each.lastStatus ?? ''),
      each.nextAttemptAt ?? each.finishedAt ?? '',
    ])
    const headings = ['ID', 'EVENT', 'STATE', 'ATTEMPTS', 'LAST', 'NEXT OR ENDED']
    if (rows.length === 0) await context.terminal.note('No deliveries.')
    return {
      json: { items, nextCursor },
      lines: rows.length === 0 ? [] : tableLines(headings, rows, context.terminal.columns('stdout')),
    }
  },
})

function attemptLines(attempt: DeliveryAttempt): Line[] {
  return [
    `Attempt ${attempt.number}`,
    ...fieldLines([
      ['at', `${attempt.at}, ${attempt.durationMs} ms`],
      ['to', attempt.remoteAddress ?? undefined],
      ['outcome', attempt.error ?? 'succeeded'],
      ['status', attempt.status === null ? undefined : String(attempt.status)],
      ['answer', attempt.response === null || attempt.response === '' ? undefined : attempt.response],
    ]),
  ]
}
