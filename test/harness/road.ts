// A way to a server that a test can cut, or stop without a word.
import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'

export interface Road extends AsyncDisposable {
  readonly port: number
  /** Ends every connection, and each new one at once. */
  cut(): void
  /** Lets nothing through, and closes nothing. */
  silence(): void
  mend(): void
}

/** Listens on a free port of the loopback and passes everything on, both ways. */
export async function openRoad(to: { host: string; port: number }): Promise<Road> {
  const sockets = new Set<Socket>()
  let state: 'open' | 'cut' | 'silent' = 'open'
  const server = createServer((socket) => {
    if (state === 'cut') return void socket.destroy()
    const further = connect(to)
    for (const end of [socket, further]) {
      sockets.add(end)
      end.on('error', () => {})
      end.on('close', () => sockets.delete(end))
    }
    socket.on('data', (bytes) => state === 'silent' || further.write(bytes))
    further.on('data', (bytes) => state === 'silent' || socket.write(bytes))
    socket.on('close', () => further.destroy())
    further.on('close', () => socket.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  return {
    port: address.port,
    cut() {
      state = 'cut'
      for (const socket of sockets) socket.destroy()
    },
    silence() {
      state = 'silent'
    },
    mend() {
      state = 'open'
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
