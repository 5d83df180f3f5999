import type { IncomingMessage } from 'node:http'
import * as artifacts from '@hivesync/contracts/artifacts.ts'
import * as bundles from '@hivesync/contracts/bundles.ts'
import { isContentDigest } from '@hivesync/protocol/content-digest.ts'
import { importPublicKey } from '@hivesync/protocol/keys.ts'
import { type Receipt, verifyReceipt } from '@hivesync/protocol/receipt.ts'
import { parseSignature, verifySignature } from '@hivesync/protocol/signature.ts'
import { systemClock } from '../clock.ts'
import { createSha256 } from '../enrol/random.ts'
import { findContractFault } from './contract-fault.ts'
import { testId } from './contract-request.ts'
import type { ContractServer, Lease } from './contract-server.ts'

/** A file that a lease has declared, and its bytes once they came. */
export interface PeerArtifact {
  declared: artifacts.DeclaredArtifact
  content?: Buffer
}

type Answer = { status: number; body?: unknown }
const refuse = (status: number, code: string): Answer => ({ status, body: { code, status } })

/** The part of the contract server that moves files; undefined for a request that is about none. `refusal` answers declarations in its place. */
export function serveFiles(server: ContractServer, request: IncomingMessage, raw: Buffer): Answer | undefined {
  const declare = match(request, artifacts.declareArtifacts)
  const upload = match(request, artifacts.uploadArtifact)
  const bundle = match(request, bundles.fetchBundle)
  const token = (declare ?? upload ?? bundle)?.[1]
  if (token === undefined) return undefined
  const lease = server.leases.get(Number(token))
  if (!isSigned(server, request, raw)) return refuse(401, 'signature_invalid')
  if (lease === undefined || lease.verdict === 'lost') return refuse(409, 'lease_lost')
  if (bundle !== null) {
    return lease.bundle === undefined ? refuse(404, 'bundle_not_found') : { status: 200, body: lease.bundle }
  }
  if (server.storageRefusal !== undefined) return refuse(409, server.storageRefusal)
  return declare !== null ? takeDeclaration(lease, raw) : takeContent(lease, upload?.[2] ?? '', raw)
}

function takeDeclaration(lease: Lease, raw: Buffer): Answer {
  const body: unknown = JSON.parse(raw.toString('utf8'))
  const fault = findContractFault(artifacts.declareArtifacts.body, body)
  if (fault !== undefined) return refuse(400, 'invalid_request')
  const known = new Map([...lease.artifacts].map(([id, { declared }]) => [declared.path, id]))
  const answers = (body as { artifacts: artifacts.DeclaredArtifact[] }).artifacts.map((declared) => {
    const id = known.get(declared.path) ?? testId(5000 + lease.claim.token * 1000 + lease.artifacts.size)
    if (!lease.artifacts.has(id)) lease.artifacts.set(id, { declared })
    return { id, path: declared.path, url: `/artifacts/${id}` }
  })
  return { status: 200, body: { artifacts: answers } }
}

function takeContent(lease: Lease, id: string, raw: Buffer): Answer {
  const artifact = lease.artifacts.get(id)
  if (artifact === undefined) return refuse(404, 'artifact_not_found')
  const digest = createSha256()
  digest.update(raw)
  const { bytes, sha256 } = artifact.declared
  if (raw.length !== bytes || digest.hex() !== sha256) return refuse(400, 'artifact_mismatch')
  artifact.content = raw
  return { status: 204 }
}

/** The receipt of a job's completion, verified with the keys of the workers that are enrolled. */
export function verifiedReceipt(server: ContractServer, lease: Lease): Receipt {
  for (const { publicKey } of server.workers.values()) {
    const verified = verifyReceipt(importPublicKey(publicKey), lease.completion?.receipt)
    if (verified.ok) return verified.receipt
  }
  throw new Error(`not a receipt of this worker: ${JSON.stringify(lease.completion?.receipt)}`)
}

function isSigned(server: ContractServer, request: IncomingMessage, raw: Buffer): boolean {
  const parsed = parseSignature(request.headers)
  const worker = parsed.ok ? server.workers.get(parsed.keyId) : undefined
  if (!parsed.ok || worker === undefined) return false
  const { ok } = verifySignature(parsed, {
    method: request.method ?? '',
    target: request.url ?? '',
    key: importPublicKey(worker.publicKey),
    nowSeconds: Math.floor(systemClock.nowMs() / 1000),
  })
  return ok && isContentDigest(parsed.contentDigest, raw)
}

function match(request: IncomingMessage, { method, path }: { method: string; path: string }): RegExpExecArray | null {
  const pattern = path.replace(':token', '([1-9][0-9]{0,15})').replace(':artifactId', '([0-9a-f-]{36})')
  return request.method === method ? new RegExp(`^${pattern}$`).exec(request.url ?? '') : null
}
