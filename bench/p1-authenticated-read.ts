import { join } from 'node:path'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { createApiKey, type NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { type Answer, encodeRequest, openClient } from './connection.ts'
import { cpuMsOf, plainEnvironment, startNode, stopProcess } from './processes.ts'
import { type BenchOptions, median, medianRatio, paceOf, type Report, spread, times, whole } from './report.ts'
import { keepInFlight, measureRounds } from './rounds.ts'
import { makeFolder, profiling, signInAdmin, startServer } from './server.ts'
import { signUpAtBetterAuth } from './sign-up-at-better-auth.ts'

const connections = 16
const usualPace = { rounds: 6, sliceMs: 1000 }
const least = 0.5
const leastOfBetterAuth = 10
const mostForKey = 1.2

interface Sample {
  perCpuSecond: number
  perSecond: number
}

/** One server process and the read that is asked of it. */
interface Target {
  url: string
  pid: number
  path: string
  headers: Readonly<Record<string, string>>
  /** Throws at an answer without the person in it. */
  check: (answer: Answer) => void
}

const labels = {
  bare: 'bare Fastify',
  token: 'access token',
  key: 'API key',
  betterAuth: 'better-auth, get-session',
  cached: 'better-auth, get-session from its cookie cache',
}
type Name = keyof typeof labels

/** P1 and P2: requests per CPU-second of the serving process, whatever the load process and the neighbours take. */
export async function measure({ profileDir, ...asked }: BenchOptions): Promise<Report> {
  const { rounds, sliceMs } = paceOf(asked, usualPace)
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({ folder: folder.path, nodeOptions: profiling(profileDir, 'p1-server') })
  cleanup.defer(server.stop)
  const api = await signInAdmin(server)
  cleanup.defer(() => api.client.close())
  const body = { name: 'bench', scopes: ['account:read'] }
  const { apiKey } = await api.call<NewApiKey>('POST', createApiKey.path, body, createApiKey.status)

  const startOpponent = async (name: string, args: readonly string[]): Promise<{ url: string; pid: number }> => {
    const { child, line, pid } = await startNode([...profiling(profileDir, `p1-${name}`), ...args], 'listening', {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: { ...plainEnvironment, NODE_ENV: 'production' },
    })
    cleanup.defer(() => stopProcess(child))
    return { url: String(line.url), pid }
  }
  const ours = (of: { url: string; pid: number }, bearer: string): Target => ({
    ...of,
    path: getMe.path,
    headers: { authorization: `Bearer ${bearer}` },
    check: requireStatus,
  })
  const betterAuth = async (mode: string): Promise<Target> => {
    const file = join(folder.path, `better-auth-${mode}.db`)
    const started = await startOpponent(`better-auth-${mode}`, ['bench/better-auth.ts', file, mode])
    return { ...started, ...(await signUpAtBetterAuth(started.url, mode === 'cached')), check: requireSession }
  }
  const targets: Record<Name, Target> = {
    // With the same header, so that both parse the same bytes.
    bare: ours(await startOpponent('bare-fastify', ['bench/bare-fastify.ts']), api.accessToken),
    token: ours(server, api.accessToken),
    key: ours(server, apiKey),
    betterAuth: await betterAuth('looked-up'),
    cached: await betterAuth('cached'),
  }
  const samples = await measureRounds(rounds, {
    bare: () => load(targets.bare, sliceMs),
    token: () => load(targets.token, sliceMs),
    key: () => load(targets.key, sliceMs),
    betterAuth: () => load(targets.betterAuth, sliceMs),
    cached: () => load(targets.cached, sliceMs),
  })
  return report(samples, sliceMs)
}

function requireStatus({ status, body }: Answer): void {
  if (status !== getMe.status) throw new Error(`answered ${status}: ${body}`)
}

/** Nobody's session is answered with 200 too, as `null`. */
function requireSession({ status, body }: Answer): void {
  if (status !== 200 || !body.startsWith('{"session":{')) throw new Error(`better-auth answered ${status}: ${body}`)
}

async function load({ url, pid, path, headers, check }: Target, sliceMs: number): Promise<Sample> {
  const request = encodeRequest({ method: 'GET', target: path, headers })
  const client = openClient(url)
  const rest = stayAwake()
  try {
    const cpuBefore = cpuMsOf(pid)
    const { count, elapsedMs } = await keepInFlight(connections, sliceMs, async () => {
      check(await client.sendEncoded(request))
    })
    return { perCpuSecond: (count * 1000) / (cpuMsOf(pid) - cpuBefore), perSecond: (count * 1000) / elapsedMs }
  } finally {
    rest()
    client.close()
  }
}

/**
 * Keeps this process from sleeping between answers: waking it costs the server up to 50 µs of CPU per reply in a virtual machine (an interrupt to
 * another core), and only a server slow enough to let its load sleep would pay that.
 */
function stayAwake(): () => void {
  let immediate = setImmediate(function again() {
    immediate = setImmediate(again)
  })
  return () => clearImmediate(immediate)
}

function report(samples: Record<Name, Sample[]>, sliceMs: number): Report {
  const perCpu = (name: Name): number[] => samples[name].map((sample) => sample.perCpuSecond)
  const row = (name: Name): string[] => [
    labels[name],
    whole(median(perCpu(name))),
    spread(perCpu(name), whole),
    whole(median(samples[name].map((sample) => sample.perSecond))),
    times(medianRatio(perCpu(name), perCpu('bare'))),
  ]
  const ratioTo = (name: Name): number => medianRatio(perCpu('token'), perCpu(name))
  const ratio = ratioTo('bare')
  const betterAuth = ratioTo('betterAuth')
  const keyCost = ratioTo('key')
  return {
    title: 'P1 · an authenticated read, GET /api/v1/auth/me',
    head: ['', 'requests per CPU-s', 'least–most', 'requests per s', 'of bare'],
    rows: (Object.keys(labels) as Name[]).map(row),
    verdicts: [
      {
        claim: 'P1',
        text: `${times(ratio)} the requests per CPU-second of bare Fastify (at least ${times(least)})`,
        holds: ratio >= least,
      },
      {
        claim: 'P1',
        text: `${times(betterAuth)} the requests per CPU-second of better-auth's get-session on SQLite (at least ${times(leastOfBetterAuth)})`,
        holds: betterAuth >= leastOfBetterAuth,
      },
      {
        claim: 'P2',
        text: `a call with an API key costs ${times(keyCost)} one with a token (at most ${times(mostForKey)})`,
        holds: keyCost <= mostForKey,
      },
    ],
    notes: [
      `${connections} keep-alive connections, ${samples.bare.length} rounds of ${sliceMs} ms each, medians; log to a file.`,
      `From its cookie cache better-auth answers without looking at its database, and a session that was ended lives on in it: ${times(ratioTo('cached'))}.`,
    ],
  }
}
