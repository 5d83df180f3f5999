// The software bill of materials: `sh start/node deploy/supply-chain/bill-of-materials.ts > hivesync.cdx.json`
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')

interface LockedPackage {
  version?: string
  integrity?: string
  license?: string
  dev?: boolean
  optional?: boolean
  link?: boolean
}

interface Component {
  type: 'library'
  'bom-ref': string
  name: string
  version: string
  purl: string
  scope: 'required' | 'optional'
  hashes?: { alg: 'SHA-512'; content: string }[]
  licenses: ({ license: { id: string } } | { expression: string })[]
}

/**
 * Every package that runs in production, as CycloneDX 1.6: name, version, package URL, digest and license, read from the lockfile. The same lockfile makes the same document,
 * byte for byte. What only builds and tests need is left out; `optional` is what one platform of several installs.
 */
export function billOfMaterials() {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>
  }
  const own = lock.packages['']
  const components = Object.entries(lock.packages)
    .filter(([path, entry]) => path.includes('node_modules/') && entry.dev !== true && entry.link !== true)
    .map(([path, entry]) => toComponent(path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length), entry))
  const byRef = new Map(components.map((component) => [component['bom-ref'], component]))
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': 'hivesync',
        name: 'hivesync',
        version: own?.version ?? '',
        licenses: [{ license: { id: 'Apache-2.0' } }],
      },
    },
    components: [...byRef.values()].sort((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1)),
  }
}

function toComponent(name: string, { version = '', integrity, license, optional }: LockedPackage): Component {
  const purl = `pkg:npm/${name.startsWith('@') ? `%40${name.slice(1)}` : name}@${version}`
  const digest = integrity?.startsWith('sha512-')
    ? Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
    : undefined
  return {
    type: 'library',
    'bom-ref': purl,
    ...{ name, version, purl },
    scope: optional === true ? 'optional' : 'required',
    ...(digest !== undefined && { hashes: [{ alg: 'SHA-512', content: digest }] }),
    licenses:
      license === undefined
        ? []
        : [/ (OR|AND) /.test(license) ? { expression: license } : { license: { id: license } }],
  }
}

if (import.meta.main) process.stdout.write(`${JSON.stringify(billOfMaterials(), null, 2)}\n`)
