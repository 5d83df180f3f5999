import type { declareArtifacts } from '@hivesync/contracts/artifacts.ts'
import type { ReplyOf } from '@hivesync/contracts/endpoint.ts'
import type {
  Claim,
  claimJobs,
  completeLease,
  completeLeases,
  enrolWorker,
  heartbeat,
  startLeases,
} from '@hivesync/contracts/worker-protocol.ts'

// Read by hand instead of with the contracts' schemas: loading typebox takes 41 MB of an idle worker's memory (measured).
// The return types keep these readers and the contracts alike.

/** A reply does not have the shape of the contract: an incompatible server, or not our server at all. */
export class ReplyInvalid extends Error {
  constructor(what: string) {
    super(`the server's reply is not as agreed: ${what}`)
    this.name = 'ReplyInvalid'
  }
}

type Members = Partial<Record<string, unknown>>

const maxLeaseSeconds = 86_400

export function readEnrolment(value: unknown): ReplyOf<typeof enrolWorker> {
  const reply = members(value, 'enrolment')
  return {
    workerId: id(reply.workerId, 'workerId'),
    name: text(reply.name, 'name', 200),
    // A server of the version before enrols only workers that stay, each with a token of its own.
    ephemeral: reply.ephemeral === true,
    pool: reply.pool === undefined || reply.pool === null ? null : text(reply.pool, 'pool', 40),
    reusable: reply.reusable === true,
  }
}

export function readClaims(value: unknown): ReplyOf<typeof claimJobs> {
  const reply = members(value, 'claims')
  const jobs = list(reply.jobs, 'jobs').map(readClaim)
  if (new Set(jobs.map((job) => job.token)).size !== jobs.length) throw new ReplyInvalid('a token is repeated')
  const rotateKey = reply.rotateKey === true
  return { jobs, draining: flag(reply.draining, 'draining'), rotateKey }
}

function readClaim(value: unknown): Claim {
  const claim = members(value, 'job')
  const { kind } = claim
  if (kind !== 'ingest' && kind !== 'compute') throw new ReplyInvalid('kind')
  return {
    token: integer(claim.token, 'token', 1),
    jobId: id(claim.jobId, 'jobId'),
    projectId: id(claim.projectId, 'projectId'),
    kind,
    input: members(claim.input, 'input'),
    attempt: integer(claim.attempt, 'attempt', 0),
    leaseTtlSeconds: integer(claim.leaseTtlSeconds, 'leaseTtlSeconds', 1, maxLeaseSeconds),
    startWithinSeconds: integer(claim.startWithinSeconds, 'startWithinSeconds', 1, maxLeaseSeconds),
    ...readSecrets(claim.secrets),
    ...readBundle(claim.bundle),
    ...readCorrelation(claim),
    ...readEgress(claim.egress),
  }
}

/** What is not as the contract has it would end up in the log and in headers. */
function readCorrelation({
  requestId,
  traceParent,
}: Record<string, unknown>): Pick<Claim, 'requestId' | 'traceParent'> {
  const isId = typeof requestId === 'string' && /^[A-Za-z0-9_-]{8,64}$/.test(requestId)
  const isTrace = typeof traceParent === 'string' && /^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/.test(traceParent)
  if ((requestId !== undefined && !isId) || (traceParent !== undefined && !isTrace)) throw new ReplyInvalid('request')
  return { ...(isId && { requestId }), ...(isTrace && { traceParent }) }
}

function readSecrets(value: unknown): Pick<Claim, 'secrets'> {
  if (value === undefined) return {}
  const entries = Object.entries(members(value, 'secrets'))
  // How long one may be is for run/compute-input.ts to judge, which fails that job alone; here the whole poll would be lost.
  return { secrets: Object.fromEntries(entries.map(([name, secret]) => [name, text(secret, 'secret', 1_048_576)])) }
}

function readBundle(value: unknown): Pick<Claim, 'bundle'> {
  if (value === undefined) return {}
  const bundle = members(value, 'bundle')
  const sha256 = text(bundle.sha256, 'sha256', 64)
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new ReplyInvalid('sha256')
  return {
    bundle: {
      id: id(bundle.id, 'bundle'),
      bytes: integer(bundle.bytes, 'bytes', 0),
      unpackedBytes: integer(bundle.unpackedBytes, 'unpackedBytes', 0),
      entries: integer(bundle.entries, 'entries', 0),
      sha256,
    },
  }
}

function readEgress(value: unknown): Pick<Claim, 'egress'> {
  if (value === undefined) return {}
  const egress = members(value, 'egress')
  return {
    egress: {
      hosts: list(egress.hosts, 'hosts').map((host) => text(host, 'host', 260)),
      maxBytes: integer(egress.maxBytes, 'maxBytes', 0),
      maxSeconds: integer(egress.maxSeconds, 'maxSeconds', 0),
    },
  }
}

export function readHeartbeat(value: unknown): ReplyOf<typeof heartbeat> {
  const reply = members(value, 'heartbeat')
  const leases = list(reply.leases, 'leases').map((item) => {
    const { token, verdict } = members(item, 'lease')
    if (verdict !== 'ok' && verdict !== 'cancel' && verdict !== 'lost') throw new ReplyInvalid('verdict')
    return { token: integer(token, 'token', 1), verdict } as const
  })
  return {
    leases,
    draining: flag(reply.draining, 'draining'),
    nextSeconds: integer(reply.nextSeconds, 'nextSeconds', 0),
  }
}

export function readLogAnswer(value: unknown): { nextSeq: number; truncated: boolean } {
  const reply = members(value, 'log')
  return { nextSeq: integer(reply.nextSeq, 'nextSeq', 0), truncated: flag(reply.truncated, 'truncated') }
}

export function readCompletion(value: unknown): ReplyOf<typeof completeLease> {
  const reply = members(value, 'completion')
  return { jobId: id(reply.jobId, 'jobId'), state: text(reply.state, 'state', 40) }
}

export function readStarts(value: unknown, sent: readonly number[]): ReplyOf<typeof startLeases>['leases'] {
  const answers = list(members(value, 'starts').leases, 'leases')
  if (answers.length !== sent.length) throw new ReplyInvalid('leases')
  return answers.map((item, place) => {
    const { token, verdict } = members(item, 'lease')
    if (token !== sent[place]) throw new ReplyInvalid('leases in another order')
    if (verdict !== 'ok' && verdict !== 'lost') throw new ReplyInvalid('verdict')
    return { token: integer(token, 'token', 1), verdict }
  })
}

/** The answers to a batch, which must be about what was sent, in its order. */
export function readCompletions(
  value: unknown,
  sent: readonly { token: number }[],
): ReplyOf<typeof completeLeases>['completions'] {
  const answers = list(members(value, 'completions').completions, 'completions')
  if (answers.length !== sent.length) throw new ReplyInvalid('completions')
  return answers.map((item, place) => {
    const answer = members(item, 'completion')
    if (answer.token !== sent[place]?.token) throw new ReplyInvalid('completions in another order')
    const token = integer(answer.token, 'token', 1)
    if (answer.code !== undefined) return { token, code: text(answer.code, 'code', 60) }
    return { token, ...readCompletion(answer) }
  })
}

export function readDeclaredArtifacts(value: unknown): ReplyOf<typeof declareArtifacts> {
  const reply = members(value, 'artifacts')
  const artifacts = list(reply.artifacts, 'artifacts').map((item) => {
    const artifact = members(item, 'artifact')
    return {
      id: id(artifact.id, 'id'),
      path: text(artifact.path, 'path', 400),
      url: text(artifact.url, 'url', 1000),
    }
  })
  return { artifacts }
}

/** The catalog code of an `application/problem+json` body, or undefined when it is none. */
export function findProblemCode(body: Buffer): string | undefined {
  try {
    const { code } = JSON.parse(body.toString('utf8')) as Members
    return typeof code === 'string' && /^[a-z_]{1,60}$/.test(code) ? code : undefined
  } catch {
    return undefined // a proxy's page, an empty body: no problem+json
  }
}

function members(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ReplyInvalid(what)
  return value as Record<string, unknown>
}

function list(value: unknown, what: string): unknown[] {
  if (!Array.isArray(value)) throw new ReplyInvalid(what)
  return value
}

function text(value: unknown, what: string, maxLength: number): string {
  if (typeof value !== 'string' || value.length > maxLength) throw new ReplyInvalid(what)
  return value
}

/** UUIDs become folder and file names here. */
function id(value: unknown, what: string): string {
  if (typeof value !== 'string' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value))
    throw new ReplyInvalid(what)
  return value
}

function integer(value: unknown, what: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    throw new ReplyInvalid(what)
  }
  return value
}

function flag(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') throw new ReplyInvalid(what)
  return value
}
