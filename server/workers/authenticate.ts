import { importPublicKey, type SignatureKey } from '@hivesync/protocol/keys.ts'
import { parseSignature, verifySignature } from '@hivesync/protocol/signature.ts'
import type { FastifyRequest } from 'fastify'
import type { Selectable } from 'kysely'
import { type Identity, nobody } from '../platform/actor.ts'
import { createBatches } from '../platform/batches.ts'
import type { Context } from '../platform/context.ts'
import type { Schema } from '../platform/db/schema.ts'
import { oneOf, run, statement } from '../platform/db/statement.ts'
import { AppError } from '../platform/errors.ts'
import { isKeyExpired, noteKeyUse, usableKeys } from './key-life.ts'
import { createReplayGuard } from './replay.ts'

const maxKeys = 10_000
/** Workers looked up together. */
const maxTogether = 500

/**
 * Proves that a request was signed by an enrolled worker (RFC 9421): key by id, signature over method, path, query and body digest, within five minutes,
 * each nonce once. Whether the worker is still enrolled is asked of the database each time, once for the requests of a moment and after they have come, so a
 * revoked one is cut off by its next request.
 */
export function createWorkerAuthenticator(ctx: Context): (request: FastifyRequest) => Promise<Identity> {
  const keys = new Map<string, SignatureKey>()
  const replays = createReplayGuard(ctx)
  const workers = createBatches<string, KeyRow | undefined>((ids) => findWorkers(ctx, ids), maxTogether)

  function keyOf(encoded: string): SignatureKey {
    const known = keys.get(encoded)
    if (known !== undefined) return known
    if (keys.size >= maxKeys) keys.clear()
    const key = importPublicKey(encoded)
    keys.set(encoded, key)
    return key
  }

  return async (request) => {
    const parsed = parseSignature(request.headers)
    if (!parsed.ok) throw new AppError(parsed.code, { reason: parsed.reason })
    const worker = await workers.add(parsed.keyId)
    const now = ctx.clock.now()
    if (worker === undefined || worker.revokedAt !== null || (worker.expiresAt !== null && worker.expiresAt <= now))
      throw new AppError('worker_revoked')
    const nowSeconds = Math.floor(now / 1000)
    const signed = { method: request.method, target: request.raw.url ?? '', nowSeconds }
    const [presentKey = '', previousKey] = usableKeys(worker, now)
    let workerKey = presentKey
    let verified = verifySignature(parsed, { ...signed, key: keyOf(presentKey) })
    if (!verified.ok && verified.code === 'signature_invalid' && previousKey !== undefined) {
      workerKey = previousKey
      verified = verifySignature(parsed, { ...signed, key: keyOf(previousKey) })
    }
    if (!verified.ok) throw new AppError(verified.code, { reason: verified.reason })
    if (isKeyExpired(worker, now)) throw new AppError('worker_key_expired')
    // After the signature: else anyone could fill the memory of nonces, or burn a worker's nonces before it uses them.
    await replays.requireFresh(verified)
    await noteKeyUse(ctx, parsed.keyId, worker, workerKey)
    return { ...nobody, kind: 'worker', id: parsed.keyId, workerKey }
  }
}

type KeyRow = Pick<
  Selectable<Schema['workers']>,
  'id' | 'publicKey' | 'revokedAt' | 'expiresAt' | 'previousPublicKey' | 'previousKeyUntil' | 'keyExpiresAt'
>

async function findWorkers(ctx: Context, ids: readonly string[]): Promise<(KeyRow | undefined)[]> {
  const found = await run<KeyRow>(
    ctx.db.kysely,
    statement`select id, public_key, revoked_at, expires_at, previous_public_key, previous_key_until, key_expires_at from workers
      where id ${oneOf('text', [...new Set(ids)])}`,
  )
  const workers = new Map(found.map((worker) => [worker.id, worker]))
  return ids.map((id) => workers.get(id))
}
