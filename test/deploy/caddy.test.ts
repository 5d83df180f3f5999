import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { maxBundleBytes } from '../../contracts/tiers.ts'
import { parseConfig } from '../../server/platform/config.ts'
import { generateSecret } from '../../server/platform/crypto/secret-strength.ts'
import { readText, rootDirectory } from '../architecture/source-tree.ts'

const path = join(rootDirectory, 'deploy', 'caddy', 'Caddyfile')
const text = readText('deploy/caddy/Caddyfile')
const hasCaddy = spawnSync('caddy', ['version']).status === 0

test('the settings that the Caddyfile names are those of a server behind it', () => {
  const env = Object.fromEntries(
    [...text.matchAll(/(HIVESYNC_[A-Z_]+)=([^\s,]+?)[.,]?(?=\s|$)/g)].map(([, name, value]) => [name, value]),
  )
  const config = parseConfig({ ...env, HIVESYNC_SECRET: generateSecret() })
  assert.deepEqual([config.profile, config.host, config.trustedProxies], ['production', '127.0.0.1', ['127.0.0.1/32']])
  assert.match(text, new RegExp(`^${new URL(config.publicUrl).hostname} \\{`, 'm'))
  assert.match(text, new RegExp(`reverse_proxy ${config.host}:${config.port} `))
})

test('it lets the largest bundle through, and leads nobody from HTTP to HTTPS', () => {
  const [, megabytes] = /max_size (\d+)MB/.exec(text) ?? []
  assert.ok(Number(megabytes) * 1e6 >= maxBundleBytes)
  assert.match(text, /auto_https disable_redirects/)
})

test('Caddy takes it', { skip: hasCaddy ? false : 'caddy is not installed' }, () => {
  const { status, stderr } = spawnSync('caddy', ['validate', '--config', path, '--adapter', 'caddyfile'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
})
