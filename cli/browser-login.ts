import { pollDeviceLogin, startDeviceLogin } from '@hivesync/contracts/device-login.ts'
import type { Login } from '@hivesync/contracts/sessions.ts'
import { type Client, HiveSyncError } from '@hivesync/sdk'
import type { Workbench } from './context.ts'
import { CliError, isPassing, usageError } from './failure.ts'
import { deviceName } from './machine.ts'
import { interruption } from './prompt.ts'
import { bold } from './terminal.ts'
import { formatDuration } from './units.ts'

/** RFC 8628 §3.5: so much slower from then on. */
const slowDownSeconds = 5

/**
 * Logs in with a browser on any device (RFC 8628): shows the address and the code, and asks the server as often as it allows until the person
 * has decided, the code has expired or Ctrl-C is pressed. Opens nothing by itself.
 */
export async function logInWithBrowser(workbench: Workbench, client: Client): Promise<Login> {
  const { machine, terminal } = workbench
  if (terminal.json) throw usageError('A login with the browser shows a code to a person', 'Leave out --json')
  const started = await client.call(startDeviceLogin, { body: { deviceName: deviceName(machine) } })
  await terminal.warn(
    [
      'Open ',
      bold(started.verificationUri),
      ' in a browser, on any device, and enter the code ',
      bold(started.userCode),
    ],
    [
      'or open ',
      started.verificationUriComplete,
      ', or where you are logged in: hivesync auth approve ',
      started.userCode,
    ],
  )
  await terminal.note(`Waiting for you there, for ${formatDuration(started.expiresIn * 1000)}. Ctrl-C gives up.`)
  const interrupted = new AbortController()
  const stop = machine.onInterrupt(() => interrupted.abort())
  try {
    return await poll(workbench, client, started, interrupted.signal)
  } catch (error) {
    if (interrupted.signal.aborted) throw interruption()
    throw error
  } finally {
    stop()
  }
}

async function poll(
  { machine }: Workbench,
  client: Client,
  started: { deviceCode: string; interval: number; expiresIn: number },
  signal: AbortSignal,
): Promise<Login> {
  const { deviceCode } = started
  const endsAtMs = machine.now() + started.expiresIn * 1000
  let seconds = started.interval
  while (machine.now() < endsAtMs) {
    await machine.sleep(seconds * 1000, signal)
    try {
      return await client.call(pollDeviceLogin, { body: { deviceCode }, signal })
    } catch (error) {
      seconds = nextInterval(error, seconds)
    }
  }
  throw expired()
}

/** How long to wait before the next poll; throws what is final. */
function nextInterval(error: unknown, seconds: number): number {
  if (!(error instanceof HiveSyncError)) throw error
  if (error.code === 'device_login_pending') return seconds
  if (error.code === 'slow_down') return seconds + slowDownSeconds
  if (error.code === 'invalid_device_code') throw expired()
  // RFC 8628 §3.5: a lost connection is met with ever rarer polls, not with giving up.
  if (isPassing(error)) return Math.max(2 * seconds, error.retryAfterSeconds ?? 1)
  throw error
}

function expired(): CliError {
  return new CliError('device_login_expired', 'denied', 'The code has expired', 'Begin again: hivesync login --browser')
}
