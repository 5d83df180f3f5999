import { type Client, type ClientOptions, createClient } from '../index.ts'

/** A client whose clock stands still and that reconnects at once: full jitter with nothing drawn. */
export function openClient(options: Partial<ClientOptions> & { server: string }): Client {
  return createClient({ now: () => 0, random: () => 0, ...options })
}
