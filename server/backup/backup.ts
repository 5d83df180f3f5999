import { type FileHandle, link, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { recordAudit, type Verification, verifyDatabase } from '../audit/audit.ts'
import { system } from '../platform/actor.ts'
import type { Clock } from '../platform/clock.ts'
import type { Config } from '../platform/config.ts'
import type { Context } from '../platform/context.ts'
import { randomToken } from '../platform/crypto/hash.ts'
import { type Keyring, SealBroken } from '../platform/crypto/keyring.ts'
import { openSigningKey } from '../platform/crypto/token-signer.ts'
import { openCopy } from '../platform/db/copy/read-copy.ts'
import { openCopyTarget } from '../platform/db/copy/write-copy.ts'
import { openDatabase } from '../platform/db/db.ts'
import { createFolderPlace } from '../platform/store/folder-place.ts'
import { type Loaded, loadBackup } from './load-backup.ts'
import { makeBackup } from './make-backup.ts'
import { type BackupTrailer, BackupUnreadable, decodeRecords } from './records.ts'
import { openBackup, sealBackup } from './sealed-file.ts'
import { countUnopenable } from './unopenable.ts'

export { BackupUnreadable } from './records.ts'

interface Parts {
  config: Pick<Config, 'databaseUrl' | 'store'> & Partial<Pick<Config, 'migrationUrl'>>
  keyring: Keyring
  clock: Clock
}

/**
 * Writes a backup of the whole server into a new file (0600), beside a server that goes on working: everything as it was at one moment (requirement M7). The file
 * appears under its name only when all of it is on the disk. It opens with HIVESYNC_SECRET alone, which is not in it.
 */
export async function writeBackup(
  { config, keyring, clock }: Parts,
  path: string,
): Promise<BackupTrailer & { bytes: number }> {
  await using copy = await openCopy(config.databaseUrl)
  const place = createFolderPlace(config.store.folder, clock)
  // A name of its own: what a backup that was killed has left must not stop the next.
  const draft = `${path}.${randomToken(16)}.unfinished`
  const file = await open(draft, 'wx', 0o600)
  try {
    const made = noting(makeBackup({ copy, place, now: clock.now() }))
    let bytes = 0
    for await (const chunk of sealBackup(keyring, made.items)) {
      await file.writeFile(chunk)
      bytes += chunk.length
    }
    await file.sync()
    // Never over another backup: a link refuses a name that is taken.
    await link(draft, path)
    await syncFolder(dirname(path))
    return { ...made.result(), bytes }
  } finally {
    await file.close()
    await rm(draft, { force: true })
  }
}

/**
 * Restores a backup into an empty database and store, as the owner of the tables. Everybody must sign in again, for a session that had ended since would live again;
 * workers go on with their keys. Throws BackupUnreadable, and then there is no row.
 */
export async function restoreBackup(
  parts: Parts,
  path: string,
  openAfterwards: () => Promise<Context>,
): Promise<Loaded> {
  const loaded = await load(parts, path, 'restored')
  const ctx = await openAfterwards()
  try {
    await ctx.db.transaction(async (tx) => {
      await tx
        .updateTable('identityEpoch')
        .set((eb) => ({ epoch: eb('epoch', '+', 1) }))
        .execute()
      const details = { createdAt: loaded.header.createdAt }
      await recordAudit(ctx, tx, system, { action: 'system.restored', details })
    })
  } finally {
    await ctx.mail.close()
    await ctx.db.close()
  }
  return loaded
}

/** What a backup would give whoever restores it now. */
export interface VerifiedBackup extends Loaded {
  signingKeys: number
  /** Values and contents that no listed secret opens. */
  unopenable: number
  audit: Verification
}

/**
 * Restores a backup into a folder that is thrown away, opens its keys with the secrets at hand, counts what they do not open, and verifies its audit log. Throws
 * BackupUnreadable for what could not be restored.
 */
export async function verifyBackup({ keyring, clock }: Omit<Parts, 'config'>, path: string): Promise<VerifiedBackup> {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-verify-'))
  try {
    const databaseUrl = `sqlite:${join(folder, 'verify.db')}`
    const store = { folder: join(folder, 'store'), isEncrypted: false }
    const loaded = await load({ config: { databaseUrl, store }, keyring, clock }, path)
    const unopenable = await countUnopenable(databaseUrl, createFolderPlace(store.folder, clock), keyring)
    return { ...loaded, unopenable, ...(await judge(databaseUrl, keyring)) }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function load({ config, keyring, clock }: Parts, path: string, endSessions?: string): Promise<Loaded> {
  const databaseUrl = config.migrationUrl ?? config.databaseUrl
  const file = await open(path, 'r')
  const records = decodeRecords(openBackup(keyring, chunksOf(file)))
  try {
    return await loadBackup(records, {
      databaseUrl,
      openTarget: () => openCopyTarget(databaseUrl),
      place: createFolderPlace(config.store.folder, clock),
      now: clock.now,
      ...(endSessions !== undefined && { endSessions }),
    })
  } finally {
    await records.return(undefined)
    await file.close()
  }
}

/** Opens the signing keys: a canary, for what some earlier secret sealed must open too, not only the file itself. */
async function judge(databaseUrl: string, keyring: Keyring): Promise<Pick<VerifiedBackup, 'signingKeys' | 'audit'>> {
  const database = await openDatabase(databaseUrl)
  try {
    const keys = database.kysely.selectFrom('signingKeys').select(['id as keyId', 'publicKey', 'sealedPrivateKey'])
    const rows = await keys.execute()
    for (const row of rows) openSigningKey(keyring, row)
    return { signingKeys: rows.length, audit: await verifyDatabase(database.kysely) }
  } catch (error) {
    if (!(error instanceof SealBroken)) throw error
    throw new BackupUnreadable('a key in it was sealed under a secret that is not listed in HIVESYNC_SECRET', {
      cause: error,
    })
  } finally {
    await database.close()
  }
}

async function* chunksOf(file: FileHandle): AsyncGenerator<Buffer> {
  yield* file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>
}

/** The items of a generator, and afterwards what it returned. */
function noting<Item, Result>(source: AsyncGenerator<Item, Result>) {
  let outcome: { value: Result } | undefined
  async function* items(): AsyncGenerator<Item> {
    for (;;) {
      const { value, done } = await source.next()
      if (done === true) {
        outcome = { value }
        return
      }
      yield value
    }
  }
  return {
    items: items(),
    result(): Result {
      if (outcome === undefined) throw new Error('asked before the end')
      return outcome.value
    },
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
