import { Agent, request } from 'node:http'

export interface Answer {
  status: number
  /** What the answer says of itself as `code`, where it refuses. */
  code: string | null
  /** Parsed; undefined where there is none. */
  body: unknown
}

export interface Wire {
  method: string
  target: string
  headers?: Readonly<Record<string, string>>
  body?: Buffer | undefined
}

export interface HttpClient {
  /** One exchange. Rejects when no whole answer came: then nobody knows what the server has done. */
  send(wire: Wire): Promise<Answer>
  /** Refusals that were no problem documents (RFC 9457), whatever happened to the server meanwhile. */
  readonly unclear: readonly string[]
  close(): void
}

export function openHttp(origin: string, timeoutMs: number): HttpClient {
  const agent = new Agent({ keepAlive: true })
  const unclear: string[] = []

  function exchange({
    method,
    target,
    headers = {},
    body,
  }: Wire): Promise<{ status: number; type: string; text: string }> {
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(body.length) }
      const outgoing = request(
        new URL(target, origin),
        { method, agent, headers: { ...headers, ...length } },
        (incoming) => {
          let text = ''
          incoming.setEncoding('utf8')
          incoming.on('data', (chunk) => {
            text += chunk
          })
          incoming.once('error', reject)
          incoming.once('end', () => {
            clearTimeout(timer)
            resolve({ status: incoming.statusCode ?? 0, type: incoming.headers['content-type'] ?? '', text })
          })
        },
      )
      const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
      outgoing.once('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      outgoing.end(body)
    })
  }
  return {
    async send(wire) {
      const { status, type, text } = await exchange(wire)
      const isProblem = type.startsWith('application/problem+json')
      if (status >= 400 && !isProblem)
        unclear.push(`${wire.method} ${wire.target}: ${status} ${type} ${text.slice(0, 200)}`)
      const body: unknown = text === '' ? undefined : JSON.parse(text)
      const code = isProblem && typeof body === 'object' && body !== null && 'code' in body ? String(body.code) : null
      return { status, code, body }
    },
    unclear,
    close: () => agent.destroy(),
  }
}
