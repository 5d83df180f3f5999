import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Endpoint } from '@hivesync/contracts/endpoint.ts'
import * as contract from '@hivesync/contracts/worker-protocol.ts'
import { signOff } from '@hivesync/contracts/workers.ts'
import { parseSignature } from '@hivesync/protocol/signature.ts'

export type Operation = keyof typeof operations
export const operations = {
  enrolWorker: contract.enrolWorker,
  claimJobs: contract.claimJobs,
  rotateKey: contract.rotateKey,
  signOff,
  startLease: contract.startLease,
  startLeases: contract.startLeases,
  reportProgress: contract.reportProgress,
  appendLog: contract.appendLog,
  uploadIndex: contract.uploadIndex,
  completeLease: contract.completeLease,
  completeLeases: contract.completeLeases,
  heartbeat: contract.heartbeat,
} as const satisfies Record<string, Endpoint>

export type Members = Record<string, unknown>
export interface Seen {
  operation: Operation
  token: number
  body: Members
  nonce: string | undefined
  keyId: string | undefined
}
export interface Answer {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

export function findOperation(request: IncomingMessage): { operation: Operation; token: number } | undefined {
  for (const operation of Object.keys(operations) as Operation[]) {
    const pattern = `^${operations[operation].path.replace(':token', '([1-9][0-9]{0,15})')}$`
    const match = new RegExp(pattern).exec(request.url ?? '')
    if (match !== null && request.method === 'POST') return { operation, token: Number(match[1] ?? 0) }
  }
  return undefined
}

export function parseSigner(request: IncomingMessage): Pick<Seen, 'nonce' | 'keyId'> {
  const parsed = parseSignature(request.headers)
  return parsed.ok ? { nonce: parsed.nonce, keyId: parsed.keyId } : { nonce: undefined, keyId: undefined }
}

export function problem(status: number, code: string): Answer {
  return { status, body: { type: `urn:hivesync:error:${code}`, title: code, status, code, requestId: 'test' } }
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function closeServer(http: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    http.close(() => resolve())
    for (const socket of sockets) socket.destroy()
  })
}

/** A UUIDv7 for tests, different by number. */
export function testId(number: number): string {
  return `01890000-0000-7000-8000-${number.toString(16).padStart(12, '0')}`
}
