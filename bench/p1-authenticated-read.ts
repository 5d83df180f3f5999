import { getMe } from '@hivesync/contracts/accounts.ts'
import { createApiKey, type NewApiKey } from '@hivesync/contracts/api-keys.ts'
import { encodeRequest, openClient } from './connection.ts'
import { cpuMsOf, plainEnvironment, startNode, stopProcess } from './processes.ts'
import { type BenchOptions, median, medianRatio, type Report, spread, times, whole } from './report.ts'
import { keepInFlight, measureRounds } from './rounds.ts'
import { makeFolder, profiling, signInAdmin, startServer } from './server.ts'

const connections = 16
const sliceMs = 1000
const rounds = 6
const least = 0.5
const mostForKey = 1.2

interface Sample {
  perCpuSecond: number
  perSecond: number
}

/** P1 and a first P2: requests per CPU-second of the serving process, whatever the load process and the neighbours take. */
export async function measure({ profileDir }: BenchOptions): Promise<Report> {
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({ folder: folder.path, nodeOptions: profiling(profileDir, 'p1-server') })
  cleanup.defer(server.stop)
  const bare = await startNode([...profiling(profileDir, 'p1-bare-fastify'), 'bench/bare-fastify.ts'], 'listening', {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    env: plainEnvironment,
  })
  cleanup.defer(() => stopProcess(bare.child))
  const api = await signInAdmin(server)
  cleanup.defer(() => api.client.close())
  const body = { name: 'bench', scopes: ['account:read'] }
  const { apiKey } = await api.call<NewApiKey>('POST', createApiKey.path, body, createApiKey.status)

  const bareUrl = String(bare.line.url)
  const samples = await measureRounds<'bare' | 'token' | 'key', Sample>(rounds, {
    // With the same header, so that both parse the same bytes.
    bare: () => load(bareUrl, bare.pid, api.accessToken),
    token: () => load(server.url, server.pid, api.accessToken),
    key: () => load(server.url, server.pid, apiKey),
  })
  return report(samples)
}

async function load(url: string, pid: number, bearer: string): Promise<Sample> {
  const request = encodeRequest({
    method: getMe.method,
    target: getMe.path,
    headers: { authorization: `Bearer ${bearer}` },
  })
  const client = openClient(url)
  const rest = stayAwake()
  try {
    const cpuBefore = cpuMsOf(pid)
    const { count, elapsedMs } = await keepInFlight(connections, sliceMs, async () => {
      const { status, body } = await client.sendEncoded(request)
      if (status !== getMe.status) throw new Error(`${url} answered ${status}: ${body}`)
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

function report(samples: Record<'bare' | 'token' | 'key', Sample[]>): Report {
  const perCpu = (name: keyof typeof samples): number[] => samples[name].map((sample) => sample.perCpuSecond)
  const row = (label: string, name: keyof typeof samples): string[] => [
    label,
    whole(median(perCpu(name))),
    spread(perCpu(name), whole),
    whole(median(samples[name].map((sample) => sample.perSecond))),
    times(medianRatio(perCpu(name), perCpu('bare'))),
  ]
  const ratio = medianRatio(perCpu('token'), perCpu('bare'))
  const keyCost = medianRatio(perCpu('token'), perCpu('key'))
  return {
    title: 'P1 · an authenticated read, GET /api/v1/auth/me',
    head: ['', 'requests per CPU-s', 'least–most', 'requests per s', 'of bare'],
    rows: [row('bare Fastify', 'bare'), row('access token', 'token'), row('API key', 'key')],
    verdicts: [
      {
        claim: 'P1',
        text: `${times(ratio)} the requests per CPU-second of bare Fastify (at least ${times(least)})`,
        holds: ratio >= least,
      },
      {
        claim: 'P1',
        text: 'against the get-session of better-auth on SQLite, which is not installed here',
        holds: null,
      },
      {
        claim: 'P2',
        text: `a call with an API key costs ${times(keyCost)} one with a token (at most ${times(mostForKey)})`,
        holds: keyCost <= mostForKey,
      },
    ],
    notes: [`${connections} keep-alive connections, ${rounds} rounds of ${sliceMs} ms each, medians; log to a file.`],
  }
}
