import { listTiers } from '@hivesync/contracts/tiers.ts'
import { defineCommand } from '../../../command.ts'
import { connect } from '../../../context.ts'
import { tableLines } from '../../../table.ts'
import { formatBytes } from '../../../units.ts'

const head = ['PLAN', 'RATE', 'WAITING', 'RUNNING', 'WEIGHT', 'BUNDLE', 'STORED', 'WEBHOOKS']

export const listTierCommand = defineCommand({
  name: 'admin tier ls',
  summary: 'what each plan allows',
  usage: '',
  notes: ['--json shows every figure, with the name that `admin tier set` changes it by.'],
  options: {},
  async run(context) {
    const { client, terminal } = { ...(await connect(context)), terminal: context.terminal }
    const { items } = await client.call(listTiers, {})
    const rows = items.map((tier) => [
      tier.name,
      `${tier.rateMultiplier} ×`,
      ...[tier.waitingJobs, tier.runningJobs, tier.weight].map(String),
      ...[tier.bundleBytes, tier.storedBytes].map(formatBytes),
      String(tier.webhookEndpoints),
    ])
    return { json: { items }, lines: tableLines(head, rows, terminal.columns('stdout')) }
  },
})
