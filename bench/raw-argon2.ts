// The ceiling of P7, in a process of its own: verifies the same stored hashes with the same number of permits, and does nothing else.
import { verify } from '@node-rs/argon2'
import { type Flow, keepInFlight } from './rounds.ts'

export interface RawArgon2Question {
  stored: readonly string[]
  password: string
  permits: number
  forMs: number
}
export type RawArgon2Answer = Flow

async function measure({ stored, password, permits, forMs }: RawArgon2Question): Promise<RawArgon2Answer> {
  let next = 0
  return keepInFlight(permits, forMs, async () => {
    const hash = stored[next++ % stored.length] ?? ''
    if (!(await verify(hash, password))) throw new Error('the password does not match its hash')
  })
}

process.on('message', async (question: RawArgon2Question) => {
  process.send?.(await measure(question))
})
process.on('disconnect', () => process.exit())
process.stdout.write(`${JSON.stringify({ event: 'listening' })}\n`)
