import { getMe } from '@hivesync/contracts/accounts.ts'
import { getHealth, getReadiness } from '@hivesync/contracts/service.ts'
import type { Outcome } from './command.ts'
import { connect, type Workbench } from './context.ts'
import { exitCode } from './exit-codes.ts'
import { describeFailure } from './failure.ts'
import { dim, type Line } from './terminal.ts'

/** One thing that was looked at. `fix` is what to do about it. */
export interface Check {
  name: string
  ok: boolean
  detail: string
  fix: string | null
}

/** Looks at one thing: what `look` answers is shown, what it throws is the fault. */
export async function check(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await look(), fix: null }
  } catch (error) {
    const { message, detail, hint } = describeFailure(error)
    return { name, ok: false, detail: detail === undefined ? message : `${message}: ${detail}`, fix: hint ?? null }
  }
}

/** What the client side needs: a place for credentials, a server that answers and is ready, a login that works. */
export async function checkClient(workbench: Workbench): Promise<Check[]> {
  const { profileFile, terminal } = workbench
  const checks = [
    await check('credentials file', async () => {
      await profileFile.probe()
      return profileFile.path
    }),
  ]
  if (checks[0]?.ok === false) return checks
  const connection = await connect(workbench)
  const { client, server, source } = connection
  await terminal.note(`Asking ${server}`)
  const reachable = await check('server', async () => {
    await client.call(getHealth)
    return `${server} answers`
  })
  checks.push(reachable)
  if (!reachable.ok) return checks
  checks.push(
    await check('server ready', async () => {
      await client.call(getReadiness)
      return 'all it depends on works'
    }),
  )
  if (source === 'none') {
    checks.push({ name: 'login', ok: true, detail: 'not logged in', fix: 'hivesync login' })
    return checks
  }
  checks.push(
    await check('login', async () => {
      const { username } = await client.call(getMe)
      return `${username}, by ${source === 'environment' ? 'HIVESYNC_CLI_TOKEN' : profileFile.path}`
    }),
  )
  return checks
}

/** All checks as one answer; ends with 1 when one of them failed. */
export function checksOutcome(checks: readonly Check[]): Outcome {
  const width = Math.max(0, ...checks.map(({ name }) => name.length))
  const lines = checks.flatMap(({ name, ok, detail, fix }): Line[] => [
    [ok ? { style: 'green', text: '✓' } : { style: 'red', text: '✗' }, ` ${name.padEnd(width)}  `, detail],
    ...(fix === null ? [] : [[dim(`  ${' '.repeat(width)}  → `), fix]]),
  ])
  const ok = checks.every((one) => one.ok)
  return { json: { ok, checks }, lines, exitCode: exitCode(ok ? 'ok' : 'failed') }
}
