import { execFileSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { makeTestFolder } from './enrolled-client.ts'

const openssl = (folder: string, ...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

/** An authority of the test's own, and a certificate that it gave to `name` (`IP:127.0.0.1`, `DNS:hive.example.net`). */
export async function makeCertificate(t: TestContext, name: string) {
  const folder = await makeTestFolder(t)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl(folder, 'req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Test CA', '-days', '2')
  openssl(folder, 'req', ...key, '-keyout', 'key.pem', '-out', 'request.pem', '-subj', '/CN=hive')
  await writeFile(join(folder, 'names'), `subjectAltName=${name}\n`)
  const by = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
  openssl(folder, 'x509', '-req', '-in', 'request.pem', ...by, '-out', 'cert.pem')
  const read = (file: string) => readFile(join(folder, file), 'utf8')
  const caFile = join(folder, 'ca.pem')
  return { caFile, ca: await read('ca.pem'), cert: await read('cert.pem'), key: await read('key.pem') }
}
