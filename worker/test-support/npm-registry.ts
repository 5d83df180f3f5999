import { execFile } from 'node:child_process'
import { chmod, readFile } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'

export interface TestPackage {
  name: string
  manifest?: Record<string, unknown>
  files?: Readonly<Record<string, string>>
}

/** A real registry of tarballs on loopback: TLS by an authority made now, `redirects` and `silent` by path for one that misbehaves. */
export async function startRegistry(folder: string, packages: readonly TestPackage[]) {
  const [keyPath, caFile] = [join(folder, 'key.pem'), join(folder, 'ca.pem')]
  const subject = ['-subj', '/CN=npm.test', '-addext', 'subjectAltName=DNS:npm.example.test']
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  await promisify(execFile)('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', keyPath, '-out', caFile])
  await chmod(caFile, 0o644)
  const tarballs = new Map<string, Buffer>()
  for (const { name, manifest, files = {} } of packages) {
    const all = { 'package.json': JSON.stringify({ name, version: '1.0.0', ...manifest }), ...files }
    tarballs.set(`/${name}.tgz`, gzipSync(await tarOf(all)))
  }
  const digests = new Map<string, string>()
  for (const [path, content] of tarballs)
    digests.set(path, Buffer.from(await crypto.subtle.digest('SHA-512', Uint8Array.from(content))).toString('base64'))
  const requests: string[] = []
  const redirects = new Map<string, string>()
  const silent = new Set<string>()
  const server = createServer({ key: await readFile(keyPath), cert: await readFile(caFile) }, (request, response) => {
    const path = request.url ?? ''
    requests.push(path)
    if (silent.has(path)) return
    const location = redirects.get(path)
    const content = tarballs.get(path)
    if (location !== undefined) response.writeHead(302, { location }).end()
    else if (content !== undefined) response.end(content)
    else response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const entry = (name: string) => {
    const digest = digests.get(`/${name}.tgz`) ?? ''
    const { bin, scripts } = packages.find((known) => known.name === name)?.manifest ?? {}
    const about = { ...(bin !== undefined && { bin }), ...(scripts !== undefined && { hasInstallScript: true }) }
    return {
      ...about,
      version: '1.0.0',
      resolved: `https://npm.example.test:${port}/${name}.tgz`,
      integrity: `sha512-${digest}`,
    }
  }
  return {
    port,
    caFile,
    requests,
    redirects,
    silent,
    privateHost: `npm.example.test:${port}`,
    resolve: async () => ['127.0.0.1'],
    /** The files of a project that depends on these packages, as npm writes them; `change` edits the lockfile's entries. */
    project(names: readonly string[], change: Readonly<Record<string, Record<string, unknown>>> = {}) {
      const dependencies = Object.fromEntries(names.map((name) => [name, '1.0.0']))
      const own = { name: 'project', version: '1.0.0', dependencies }
      const installed = names.map((name) => [`node_modules/${name}`, { ...entry(name), ...change[name] }])
      const lockfile = {
        ...own,
        lockfileVersion: 3,
        requires: true,
        packages: { '': own, ...Object.fromEntries(installed) },
      }
      return [
        { path: 'package.json', content: JSON.stringify(own) },
        { path: 'package-lock.json', content: JSON.stringify(lockfile) },
      ]
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function tarOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack()
  for (const [name, content] of Object.entries(files)) archive.entry({ name: `package/${name}`, mode: 0o755 }, content)
  archive.finalize()
  const chunks: Buffer[] = []
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}
