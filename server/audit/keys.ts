import { type NoteSigner, noteSigner, publicHalf, writeVerifierKey } from '@hivesync/protocol/signed-note.ts'
import { system } from '../platform/actor.ts'
import type { Context } from '../platform/context.ts'
import { readAuditKey } from '../platform/crypto/audit-key.ts'
import { SealBroken } from '../platform/crypto/keyring.ts'
import { generateSigningKey, openSigningKey, type SigningKeyRow } from '../platform/crypto/token-signer.ts'
import type { Db } from '../platform/db/db.ts'
import { recordAudit } from './audit.ts'
import { listAuditKeys } from './queries.ts'
import { rewrapSubjectKeys } from './subjects.ts'

/** Of the row in `signing_keys` that keeps the private half, where it is not kept outside the database. */
const purpose = 'audit-checkpoint'

export { listVerifiers } from './verifiers.ts'

/** A key to be stored where there is none that can be opened; made before the transaction, in which nothing is computed. */
export async function makeSpareKey(ctx: Context): Promise<SigningKeyRow | undefined> {
  if (ctx.config.audit.keyPem !== null || (await findOwnKey(ctx, ctx.db.kysely)) !== undefined) return undefined
  return generateSigningKey(ctx.keyring)
}

/**
 * The key that signs checkpoints now, under the sequencer's lock: that of `HIVESYNC_AUDIT_KEY_FILE`, else the server's own, sealed in the database. A key
 * that has not signed before is recorded as an event of the log; undefined when one must be made first (`makeSpareKey`).
 */
export async function ensureSigner(
  ctx: Context,
  tx: Db,
  size: number,
  spare: SigningKeyRow | undefined,
): Promise<NoteSigner | undefined> {
  const known = await listAuditKeys(tx)
  // The log keeps the name it began with, whatever address the server has later.
  const origin = known[0]?.origin ?? originOf(ctx)
  const privateKey = readOutsideKey(ctx) ?? (await findOwnKey(ctx, tx)) ?? (await storeSpare(ctx, tx, spare))
  if (privateKey === undefined) return undefined
  const signer = noteSigner(origin, privateKey)
  if (known.some(({ publicKey }) => publicKey === publicHalf(privateKey))) return signer
  const row = { id: signer.id, origin, publicKey: publicHalf(privateKey), firstSize: size, createdAt: ctx.clock.now() }
  await tx.insertInto('auditKeys').values(row).execute()
  await recordAudit(ctx, tx, system, {
    action: 'audit_key.added',
    target: { kind: 'audit_key', id: signer.id },
    details: { key: writeVerifierKey(signer) },
  })
  return signer
}

function readOutsideKey(ctx: Context) {
  const { keyPem } = ctx.config.audit
  if (keyPem === null) return undefined
  const key = readAuditKey(keyPem)
  if (key === undefined) throw new Error('the audit key was judged when the configuration was read')
  return key
}

/** Undefined, and an error in the log, where the sealed key cannot be opened: then another takes its place. */
async function findOwnKey(ctx: Context, db: Db) {
  const row = await db
    .selectFrom('signingKeys')
    .select(['id', 'publicKey', 'sealedPrivateKey'])
    .where('purpose', '=', purpose)
    .where('state', '=', 'current')
    .executeTakeFirst()
  if (row === undefined) return undefined
  try {
    return openSigningKey(ctx.keyring, { ...row, keyId: row.id }).privateKey
  } catch (error) {
    ctx.log.error({ event: 'audit_key_unreadable', name: row.id }, error)
    return undefined
  }
}

async function storeSpare(ctx: Context, tx: Db, spare: SigningKeyRow | undefined) {
  if (spare === undefined) return undefined
  await tx
    .updateTable('signingKeys')
    .set({ state: 'previous', sealedPrivateKey: '', retiresAt: ctx.clock.now() })
    .where('purpose', '=', purpose)
    .where('state', '=', 'current')
    .execute()
  const { keyId, publicKey, sealedPrivateKey } = spare
  const times = { createdAt: ctx.clock.now(), activatedAt: ctx.clock.now(), retiresAt: null }
  await tx
    .insertInto('signingKeys')
    .values({ id: keyId, purpose, state: 'current', publicKey, sealedPrivateKey, ...times })
    .execute()
  return openSigningKey(ctx.keyring, spare).privateKey
}

/** Seals the private key and the persons' keys anew under the newest secret, so that an older one can be taken out of `HIVESYNC_SECRET`. */
export async function rewrapAuditKeys(ctx: Context): Promise<void> {
  await rewrapOwnKey(ctx)
  await rewrapSubjectKeys(ctx)
}

async function rewrapOwnKey(ctx: Context): Promise<void> {
  const row = await ctx.db.kysely
    .selectFrom('signingKeys')
    .select(['id', 'sealedPrivateKey'])
    .where('purpose', '=', purpose)
    .where('state', '=', 'current')
    .executeTakeFirst()
  if (row === undefined || row.sealedPrivateKey.startsWith(`v1.${ctx.keyring.currentKeyId}.`)) return
  try {
    const material = ctx.keyring.open('signing-key', row.sealedPrivateKey, row.id)
    const sealedPrivateKey = ctx.keyring.seal('signing-key', material, row.id)
    await ctx.db.kysely.updateTable('signingKeys').set({ sealedPrivateKey }).where('id', '=', row.id).execute()
  } catch (error) {
    // The next checkpoint is signed by another key, and the log says so.
    if (!(error instanceof SealBroken)) throw error
    ctx.log.error({ event: 'audit_key_unreadable', name: row.id }, error)
  }
}

/** Unique also where many servers call themselves localhost. */
function originOf(ctx: Context): string {
  return `${new URL(ctx.config.publicUrl).host}/audit/${ctx.random.id().slice(-12)}`
}
