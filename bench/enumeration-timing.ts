import { type Answer, type Client, openClient } from './connection.ts'
import { type AccountKind, nameOf, prepareAccounts } from './login-accounts.ts'
import { type BenchOptions, median, quantile, type Report, type Verdict } from './report.ts'
import { measureRounds } from './rounds.ts'
import { encodeLogin, makeFolder, password, profiling, startServer } from './server.ts'
import { croppedWelchT, mannWhitneyZ } from './statistics.ts'

const usualRounds = 500
/** Below this nothing short of a gross difference would be found, and finding none would mean nothing. */
const leastRounds = 100
const warmUpLogins = 50
/** Of the median: some tenths of a millisecond, below the jitter of a network, and every sample costs the attacker a login that the throttle counts. */
const mostDifference = 0.02
/** dudect and TVLA (ISO/IEC 17825) call it a leak from 4.5 standard errors on: once in 150,000 by chance. */
const significant = 4.5
/** A machine too noisy to show this share of the median has measured nothing. */
const coarsest = 0.1
/** As long as the right one. */
const wrong = password.replace('amber', 'umber')

interface Attempt {
  label: string
  kind: AccountKind | 'nobody'
  password: string
}
const attempts = {
  nobody: { label: 'no such account', kind: 'nobody', password: wrong },
  control: { label: 'no such account, again (control)', kind: 'nobody', password: wrong },
  wrong: { label: 'wrong password', kind: 'usual', password: wrong },
  blank: { label: 'a blank as the password', kind: 'usual', password: ' ' },
  deactivated: { label: 'deactivated, right password', kind: 'deactivated', password },
  passwordless: { label: 'no password, external sign-in only', kind: 'passwordless', password: wrong },
  disabled: { label: 'password disabled after 100 failures', kind: 'disabled', password: wrong },
  bcrypt: { label: 'imported with bcrypt, wrong password', kind: 'bcrypt', password: wrong },
  sha256: { label: 'imported with SHA-256, wrong password', kind: 'sha256', password: wrong },
} as const satisfies Readonly<Record<string, Attempt>>
type Name = keyof typeof attempts

/** T1: whether the time of a refused login tells what kind of account was named, or that there is none (ASVS 6.3.8). */
export async function measure({ profileDir, rounds = usualRounds }: BenchOptions): Promise<Report> {
  await using cleanup = new AsyncDisposableStack()
  const folder = await makeFolder()
  cleanup.defer(folder.remove)
  const names = Object.keys(attempts) as Name[]
  // Each account is tried once, so that none comes near its throttle; two attempts share the usual accounts, and one round warms up.
  const accounts = 2 * (rounds + 1)
  await prepareAccounts(folder.path, accounts)
  const server = await startServer({
    folder: folder.path,
    nodeOptions: profiling(profileDir, 't1-server'),
    env: { HIVESYNC_TRUSTED_PROXIES: '127.0.0.1/32' },
  })
  cleanup.defer(server.stop)
  const client = openClient(server.url)
  cleanup.defer(() => client.close())

  const used = new Map<string, number>()
  let refusal: string | undefined
  const timed = async ({ kind, password }: Attempt): Promise<number> => {
    const index = used.get(kind) ?? 0
    used.set(kind, index + 1)
    const { ms, answer } = await timedLogin(client, nameOf(kind, index), password, addressOf(used))
    refusal ??= tellingPart(answer)
    if (answer.status !== 401 || tellingPart(answer) !== refusal)
      throw new Error(`${kind} is answered otherwise: ${answer.status} ${answer.body}, not ${refusal}`)
    return ms
  }
  for (let count = 0; count < warmUpLogins; count++) await timed(attempts.nobody)
  const variants = Object.fromEntries(names.map((name) => [name, () => timed(attempts[name])]))
  return report(await measureRounds(rounds, variants as Record<Name, () => Promise<number>>))
}

/** An address of its own for every attempt: the source's throttle is met with one failure each time. */
function addressOf(used: ReadonlyMap<string, number>): string {
  const count = [...used.values()].reduce((sum, each) => sum + each, 0)
  return `10.${(count >> 16) & 255}.${(count >> 8) & 255}.${count & 255}`
}

async function timedLogin(client: Client, login: string, given: string, address: string) {
  const request = encodeLogin(login, given, { 'x-forwarded-for': address })
  const startedAt = performance.now()
  const answer = await client.sendEncoded(request)
  return { ms: performance.now() - startedAt, answer }
}

/** The answer without what differs in every answer. */
function tellingPart({ body }: Answer): string {
  return JSON.stringify({ ...(JSON.parse(body) as object), requestId: undefined })
}

interface Comparison {
  differenceMs: number
  share: number
  t: number
  z: number
  isSignificant: boolean
  isTold: boolean
}

function compare(own: readonly number[], reference: readonly number[]): Comparison {
  const differenceMs = median(own) - median(reference)
  const share = differenceMs / median(reference)
  const t = croppedWelchT(own, reference)
  const z = mannWhitneyZ(own, reference)
  const isSignificant = Math.abs(t) >= significant || Math.abs(z) >= significant
  return { differenceMs, share, t, z, isSignificant, isTold: isSignificant && Math.abs(share) > mostDifference }
}

/** The power of these samples: the share of the median, in steps of a thousandth, by which the control would have to be longer to be found. */
function leastFound(control: readonly number[], reference: readonly number[]): number {
  const isFound = (share: number): boolean => {
    const shift = share * median(reference)
    return compare(
      control.map((value) => value + shift),
      reference,
    ).isSignificant
  }
  let share = 0
  while (share < 1 && !isFound(share)) share += 0.001
  return share
}

function report(samples: Record<Name, number[]>): Report {
  const reference = samples.nobody
  const compared = (Object.keys(attempts) as Name[])
    .filter((name) => name !== 'nobody')
    .map((name) => ({ name, ...compare(samples[name], reference) }))
  const signed = (value: number, digits: number): string => `${value < 0 ? '' : '+'}${value.toFixed(digits)}`
  const percent = (share: number): string => `${signed(share * 100, 2)} %`
  const times = (name: Name): string[] => [
    median(samples[name]).toFixed(3),
    `${quantile(samples[name], 0.1).toFixed(2)}–${quantile(samples[name], 0.9).toFixed(2)}`,
  ]
  const found = leastFound(samples.control, reference)
  const doubt =
    reference.length < leastRounds
      ? `${leastRounds} rounds are needed`
      : found > coarsest
        ? 'the machine is too noisy for so few rounds'
        : undefined
  const verdicts = compared.map(({ name, share, isTold }): Verdict => {
    const text = `${attempts[name].label}: ${percent(share)} beside an account that does not exist`
    if (isTold || doubt === undefined) return { claim: 'T1', text, holds: !isTold }
    return { claim: 'T1', text: `${text}; ${doubt}`, holds: null }
  })
  return {
    title: 'T1 · what the time of a refused login tells, POST /api/v1/auth/login',
    head: ['', 'median ms', '10th–90th percentile', 'difference ms', 'of it', 't, cropped', 'z of ranks'],
    rows: [
      [attempts.nobody.label, ...times('nobody'), '', '', '', ''],
      ...compared.map(({ name, differenceMs, share, t, z }) => [
        attempts[name].label,
        ...times(name),
        signed(differenceMs, 3),
        percent(share),
        signed(t, 1),
        signed(z, 1),
      ]),
    ],
    verdicts,
    notes: [
      `${reference.length} refused logins of each kind, one at a time on one connection, in an order shuffled anew each round; all answers were the same.`,
      `Fails above ${mostDifference * 100} % of the median where |t| (Welch, cropped) or |z| (Mann–Whitney) reaches ${significant}.`,
      `These samples would show a difference of ${(found * 100).toFixed(1)} % of the median: that much longer, the control is told apart.`,
    ],
  }
}
