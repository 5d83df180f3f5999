import { type NoteVerifier, noteVerifier } from '@hivesync/protocol/signed-note.ts'
import type { Db } from '../platform/db/db.ts'
import { listAuditKeys } from './queries.ts'

/** The verifiers of every key that has signed checkpoints of this log. */
export async function listVerifiers(db: Db): Promise<NoteVerifier[]> {
  return (await listAuditKeys(db)).map(({ origin, publicKey }) => noteVerifier(origin, publicKey))
}
