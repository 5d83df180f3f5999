import { execFile, spawn } from 'node:child_process'
import { chmod, readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { join } from 'node:path'
import { promisify } from 'node:util'

export interface ServedRequest {
  method: string
  path: string
  responseBytes: number
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/**
 * A real smart-HTTP git server on loopback: TLS by a certificate made now, `git http-backend` for what lies under `root`, and
 * `answers` by path prefix for servers that misbehave.
 */
export async function startGitServer(root: string, answers: Readonly<Record<string, Answer>> = {}) {
  const keyPath = join(root, 'key.pem')
  const caFile = join(root, 'ca.pem')
  const subject = ['-subj', '/CN=git.test', '-addext', 'subjectAltName=DNS:git.test,IP:127.0.0.1']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  await promisify(execFile)('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', keyPath, '-out', caFile])
  await chmod(caFile, 0o644)
  const requests: ServedRequest[] = []
  const server = createServer({ key: await readFile(keyPath), cert: await readFile(caFile) }, (request, response) => {
    const path = request.url ?? ''
    const served: ServedRequest = { method: request.method ?? '', path, responseBytes: 0 }
    requests.push(served)
    const prefix = Object.keys(answers).find((key) => path.startsWith(key))
    const answer = prefix === undefined ? undefined : answers[prefix]
    if (answer) answer(request, response)
    else serveBackend(root, request, response, served)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const { port } = address
  return {
    port,
    caFile,
    requests,
    privateHost: `git.test:${port}`,
    url: (path: string) => `https://git.test:${port}/${path}`,
    resolve: async () => ['127.0.0.1'],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** CGI as RFC 3875 has it: headers, an empty line, the body. */
function serveBackend(root: string, request: IncomingMessage, response: ServerResponse, served: ServedRequest): void {
  const url = new URL(request.url ?? '/', 'https://git.test')
  const backend = spawn('git', ['-c', 'safe.directory=*', 'http-backend'], {
    env: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_PROJECT_ROOT: root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method ?? 'GET',
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: String(request.headers['content-encoding'] ?? ''),
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  request.pipe(backend.stdin)
  backend.stdin.on('error', () => request.destroy())
  let head = Buffer.alloc(0)
  let headDone = false
  backend.stdout.on('data', (chunk: Buffer) => {
    let body = chunk
    if (!headDone) {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      headDone = true
      for (const line of head.toString('latin1', 0, end).split('\r\n')) {
        const [name = '', value = ''] = line.split(/: (.*)/)
        if (name === 'Status') response.statusCode = Number(value.slice(0, 3))
        else response.setHeader(name, value)
      }
      body = head.subarray(end + 4)
    }
    served.responseBytes += body.length
    response.write(body)
  })
  backend.once('close', () => response.end())
}
