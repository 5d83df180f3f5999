import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { webhookEvents } from '../../contracts/webhook-events.ts'
import {
  createWebhookSigner,
  encodeWebhookSecret,
  generateWebhookKey,
} from '../../server/platform/crypto/webhook-signer.ts'
import { readText } from './source-tree.ts'

const page = readText('docs/webhooks.md')

function exampleIn(language: 'js' | 'python'): string {
  const [, code] = new RegExp(`\`\`\`${language}\\n([\\s\\S]*?)\`\`\``).exec(page) ?? []
  assert.ok(code, `docs/webhooks.md has no example in ${language}`)
  return code
}

/** Messages as they are sent, and what became of them on the way; only the first is genuine. */
function messages() {
  const keys = [generateWebhookKey(), generateWebhookKey()]
  const [key] = keys
  assert.ok(key)
  const now = 1_767_614_400
  const body = '{"type":"job.failed","data":{"name":"é"}}'
  const signer = createWebhookSigner(keys)
  const message = (timestamp: number, sent = body) => ({
    headers: {
      'webhook-id': 'msg_1',
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signer.sign('msg_1', timestamp, body),
    },
    body: sent,
  })
  const genuine = message(now)
  return {
    now,
    secret: encodeWebhookSecret(key.secret),
    publicKey: key.publicKey,
    all: [
      genuine,
      message(now, `${body} `),
      message(now - 301),
      message(now + 301),
      { ...genuine, headers: { ...genuine.headers, 'webhook-id': 'msg_2' } },
      { ...genuine, headers: { ...genuine.headers, 'webhook-signature': 'v1,AAAA v1a,AAAA' } },
    ],
  }
}
const verdicts = [true, false, false, false, false, false]

test('docs/webhooks.md lists exactly the events of the catalog, with their versions and data', () => {
  const rows = page.split('\n').filter((line) => /^\| `[a-z_]+\.[a-z_]+` \|/.test(line))
  const stated = Object.entries(webhookEvents).map(
    ([type, { version, description, data }]) =>
      `| \`${type}\` | ${version} | ${description.split('; projectId')[0]} | ${Object.keys(data.properties).join(', ')} |`,
  )
  assert.deepEqual(rows, stated)
})

test('its example in Node accepts what is genuine by either key, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'hivesync-example-'))
  try {
    const path = join(folder, 'verify.mjs')
    await writeFile(path, exampleIn('js'))
    const { isGenuine } = await import(pathToFileURL(path).href)
    const { now, secret, publicKey, all } = messages()
    for (const key of [secret, publicKey])
      assert.deepEqual(
        all.map(({ headers, body }) => isGenuine(key, headers, body, now)),
        verdicts,
      )
    assert.equal(isGenuine(generateWebhookKey().publicKey, all[0]?.headers, all[0]?.body, now), false)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

const hasPython = spawnSync('python3', ['--version']).status === 0

test('its example in Python accepts what is genuine, and nothing else', { skip: !hasPython && 'no python3' }, () => {
  const { now, secret, all } = messages()
  const program = `${exampleIn('python')}
import json, sys
given = json.load(sys.stdin)
print(json.dumps([is_genuine(given["secret"], m["headers"], m["body"].encode(), given["now"]) for m in given["all"]]))
`
  const input = JSON.stringify({ now, secret, all })
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { input, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  assert.deepEqual(JSON.parse(stdout), verdicts)
})
