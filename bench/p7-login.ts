import type { ChildProcess } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { getMe } from '@hivesync/contracts/accounts.ts'
import { type Login, logIn } from '@hivesync/contracts/sessions.ts'
import { type Client, openClient, readAnswer } from './connection.ts'
import { runSql } from './databases.ts'
import type { ProbeAnswer, ProbeQuestion } from './latency-probe.ts'
import { ask, cpuMsOf, plainEnvironment, startNode, stopProcess } from './processes.ts'
import type { RawArgon2Answer, RawArgon2Question } from './raw-argon2.ts'
import { type BenchOptions, median, medianRatio, paceOf, quantile, type Report, spread, times } from './report.ts'
import { keepInFlight, measureRounds } from './rounds.ts'
import {
  type BenchServer,
  encodeLogin,
  makeFolder,
  password,
  profiling,
  registerAccounts,
  signInAdmin,
  startServer,
} from './server.ts'

const storm = 50
/** More than are in flight, so that no account ever logs in twice at once. */
const accounts = 100
const usualPace = { rounds: 6, sliceMs: 4000 }
const probeEveryMs = 4
const least = 0.9
const mostSlowdown = 3
/** libuv's threads: https://docs.libuv.org/en/v1.x/threadpool.html */
const threadPoolSize = 4
/** The claim's "permits granted": a core and a thread of the pool stay free. */
const permits = Math.max(1, Math.min(availableParallelism(), threadPoolSize) - 1)

interface Sample {
  perSecond: number
  cpuMsEach: number
}

interface Latencies {
  idle: number[]
  storm: number[]
}

/** P7: logins against the Argon2id verifications that are all a login should cost, and what everybody else feels of a storm of them. */
export async function measure({ profileDir, ...asked }: BenchOptions): Promise<Report> {
  const { rounds, sliceMs } = paceOf(asked, usualPace)
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const server = await startServer({
    folder: folder.path,
    nodeOptions: profiling(profileDir, 'p7-server'),
    // The probe's token must outlive the run.
    env: { HIVESYNC_REGISTRATION: 'open', HIVESYNC_ACCESS_TOKEN_MINUTES: '60' },
  })
  cleanup.defer(server.stop)
  const admin = await signInAdmin(server)
  admin.client.close()
  const usernames = await registerAccounts(server, accounts)
  const client = openClient(server.url)
  cleanup.defer(() => client.close())
  const logins = await fromKnownDevices(client, usernames)
  const startScript = async (script: string) => {
    const { child, pid } = await startNode([`bench/${script}`], 'listening', {
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
      env: plainEnvironment,
    })
    cleanup.defer(() => stopProcess(child))
    return { child, pid }
  }
  const raw = await startScript('raw-argon2.ts')
  const stored = await storedHashes(server)
  const samples = await measureRounds(rounds, {
    raw: () => sampleOf(raw.pid, () => verifyRaw(raw.child, stored, sliceMs)),
    logins: () => sampleOf(server.pid, () => logInAll(client, logins, sliceMs)),
  })

  const probe = await startScript('latency-probe.ts')
  const question = { url: server.url, path: getMe.path, bearer: admin.accessToken, everyMs: probeEveryMs }
  const latencies: Latencies[] = []
  for (let round = 0; round <= rounds; round++) {
    const ofRound = await measureStorm(probe.child, { ...question, forMs: sliceMs }, client, logins)
    if (round > 0) latencies.push(ofRound)
  }
  return report(samples, latencies, sliceMs)
}

/** Each account's login as a client sends it that has signed in before: with the token of its device, so that nobody is mailed about a new one. */
async function fromKnownDevices(client: Client, usernames: readonly string[]): Promise<Buffer[]> {
  const logins: Buffer[] = []
  for (const username of usernames) {
    const first = readAnswer<Login>(await client.sendEncoded(encodeLogin(username)), logIn.status)
    logins.push(encodeLogin(username, password, {}, first.deviceToken))
  }
  return logins
}

/** What the server itself stored: the raw side verifies the same parameters, whatever they are. */
async function storedHashes(server: BenchServer): Promise<string[]> {
  const sql = "select password_hash from users where username like 'drone-%'"
  return (await runSql(server.databaseUrl, sql)).map((row) => String(row.password_hash))
}

async function sampleOf(pid: number, run: () => Promise<{ count: number; elapsedMs: number }>): Promise<Sample> {
  const cpuBefore = cpuMsOf(pid)
  const { count, elapsedMs } = await run()
  return { perSecond: (count * 1000) / elapsedMs, cpuMsEach: (cpuMsOf(pid) - cpuBefore) / count }
}

function verifyRaw(child: ChildProcess, stored: readonly string[], forMs: number): Promise<RawArgon2Answer> {
  const question: RawArgon2Question = { stored, password, permits, forMs }
  return ask<RawArgon2Answer>(child, question)
}

function logInAll(client: Client, logins: readonly Buffer[], forMs: number) {
  let next = 0
  return keepInFlight(storm, forMs, async () => {
    const request = logins[next++ % logins.length]
    if (request !== undefined) readAnswer(await client.sendEncoded(request), logIn.status)
  })
}

/** The same reads with nothing else to do, and right afterwards beside the storm. */
async function measureStorm(
  probe: ChildProcess,
  question: ProbeQuestion,
  client: Client,
  logins: readonly Buffer[],
): Promise<Latencies> {
  const idle = await ask<ProbeAnswer>(probe, question)
  const [during] = await Promise.all([
    ask<ProbeAnswer>(probe, question),
    // The storm lasts at least as long as the probe.
    logInAll(client, logins, question.forMs),
  ])
  return { idle: idle.latenciesMs, storm: during.latenciesMs }
}

function report(samples: Record<'raw' | 'logins', Sample[]>, latencies: readonly Latencies[], sliceMs: number): Report {
  const rates = (name: keyof typeof samples): number[] => samples[name].map(({ perSecond }) => perSecond)
  const row = (label: string, name: keyof typeof samples): string[] => [
    label,
    median(rates(name)).toFixed(1),
    spread(rates(name), (value) => value.toFixed(1)),
    median(samples[name].map(({ cpuMsEach }) => cpuMsEach)).toFixed(2),
    times(medianRatio(rates(name), rates('raw'))),
  ]
  const ms = (value: number): string => value.toFixed(2)
  const p99s = (name: keyof Latencies): number[] => latencies.map((round) => quantile(round[name], 0.99))
  const reads = (label: string, name: keyof Latencies): string => {
    const all = latencies.flatMap((round) => round[name])
    return `GET /auth/me ${label}: p50 ${ms(median(all))} ms, p99 ${ms(median(p99s(name)))} ms (${spread(p99s(name), ms)}), worst ${ms(Math.max(...all))} ms, ${all.length} reads`
  }
  const ratio = medianRatio(rates('logins'), rates('raw'))
  const slowdown = medianRatio(p99s('storm'), p99s('idle'))
  return {
    title: `P7 · logins, ${storm} at once, ${permits} permit${permits === 1 ? '' : 's'} for hashing`,
    head: ['', 'per s', 'least–most', 'CPU ms each', 'of raw'],
    rows: [row('Argon2id alone, the same hashes and permits', 'raw'), row('logins over HTTP', 'logins')],
    verdicts: [
      {
        claim: 'P7',
        text: `${times(ratio)} the throughput of Argon2id alone (at least ${times(least)})`,
        holds: ratio >= least,
      },
      {
        claim: 'P7',
        text: `the p99 of other requests during a storm of logins is ${times(slowdown)} that of the idle server (at most ${times(mostSlowdown)})`,
        holds: slowdown <= mostSlowdown,
      },
    ],
    notes: [
      reads('idle', 'idle'),
      reads(`beside ${storm} logins`, 'storm'),
      `${accounts} accounts with right passwords; ${samples.raw.length} rounds of ${sliceMs} ms each, medians; a read every ${probeEveryMs} ms from a process of its own.`,
    ],
  }
}
