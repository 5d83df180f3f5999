import { getPosture, type PostureCheck } from '@hivesync/contracts/oversight.ts'
import { defineCommand, type Outcome } from '../../command.ts'
import { connect, type Workbench } from '../../context.ts'
import { exitCode } from '../../exit-codes.ts'
import { dim, type Line } from '../../terminal.ts'

const marks = {
  good: { style: 'green', text: '✓' },
  advice: { style: 'yellow', text: '!' },
  risk: { style: 'red', text: '✗' },
} as const satisfies Record<PostureCheck['state'], unknown>

export const posture = defineCommand({
  name: 'admin posture',
  summary: 'what makes the server safer or less so, and what to do about it',
  usage: '',
  notes: ['Ends with 1 when something is a risk. Advice may be right for you as it is.'],
  options: {},
  run: showPosture,
})

/** Asks the server about itself, as an admin. */
export async function showPosture(workbench: Workbench): Promise<Outcome> {
  const { client } = await connect(workbench)
  const found = await client.call(getPosture, {})
  const width = Math.max(0, ...found.items.map(({ name }) => name.length))
  const lines = found.items.flatMap(({ name, state, detail, fix }): Line[] => [
    [marks[state], ` ${name.padEnd(width)}  `, detail],
    ...(fix === null ? [] : [[dim(`  ${' '.repeat(width)}  → `), fix]]),
  ])
  const isSafe = found.items.every(({ state }) => state !== 'risk')
  return { json: found, lines, exitCode: exitCode(isSafe ? 'ok' : 'failed') }
}
