import type { Net } from '../platform/net/net.ts'
import type { Sink } from './sink.ts'

const timeoutMs = 20_000

/** POSTs JSON lines to an address of the operator's, under the same rules as every request out of the server; any 2xx says that they are kept. */
export function webhookSink(net: Net, { url, token }: { url: string; token: string | null }): Sink {
  return {
    name: url,
    async deliver(items) {
      const headers = {
        'content-type': 'application/jsonl; charset=utf-8',
        ...(token !== null && { authorization: `Bearer ${token}` }),
      }
      const body = items.map(({ line }) => `${line}\n`).join('')
      const { status } = await net.post({ url: new URL(url), lane: 'audit-sink', headers, body, timeoutMs })
      if (status < 200 || status >= 300) throw new Error(`the sink answered ${status}`)
    },
  }
}
