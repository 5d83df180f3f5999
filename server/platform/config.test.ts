import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { type Config, ConfigError, parseConfig } from './config.ts'
import { generateSecret } from './crypto/secret-strength.ts'

const folder = mkdtempSync(join(tmpdir(), 'hivesync-config-'))
after(() => rmSync(folder, { recursive: true }))

type Environment = Record<string, string | undefined>
const secret = generateSecret()
const good = { HIVESYNC_PROFILE: 'production', HIVESYNC_PUBLIC_URL: 'https://hive.test', HIVESYNC_SECRET: secret }

function problemsOf(env: Environment): readonly string[] {
  try {
    parseConfig(env)
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return error.problems
  }
}

function fileWith(text: string, mode = 0o600): string {
  const path = join(folder, `secret-${generateSecret().slice(0, 8)}`)
  writeFileSync(path, text)
  chmodSync(path, mode)
  return path
}

/** The environment is refused for one reason, which names the setting and never a value. */
function refuses(env: Environment, reason: RegExp): void {
  const problems = problemsOf(env)
  assert.equal(problems.length, 1, JSON.stringify(problems))
  assert.match(problems[0] ?? '', reason)
  for (const [name, value = ''] of Object.entries(env)) {
    const isSecret = /SECRET|TOKEN|DATABASE/.test(name) && value.length > 8
    if (isSecret) assert.ok(!problems.join('\n').includes(value), name)
  }
}

test('nothing set is a server on this machine alone', () => {
  const config = parseConfig({})
  assert.equal(config.profile, 'local')
  assert.equal(config.publicUrl, 'http://127.0.0.1:7070')
  assert.equal(config.registration, 'closed')
  assert.deepEqual(config.secrets, [])
  assert.ok(config.databaseUrl.startsWith('sqlite:/'))
})

test('the configuration is frozen, with its lists', () => {
  const config = parseConfig({ ...good, HIVESYNC_LOCAL_REPOS: '/srv', HIVESYNC_TRUSTED_PROXIES: '10.0.0.1' })
  const parts: (keyof Config)[] = ['secrets', 'localRepos', 'trustedProxies']
  for (const part of [config, ...parts.map((name) => config[name])]) assert.ok(Object.isFrozen(part))
})

describe('a secret', () => {
  test('is needed in staging and production, and an empty one is none', () => {
    for (const HIVESYNC_PROFILE of ['staging', 'production']) {
      for (const HIVESYNC_SECRET of [undefined, '', '   '])
        refuses({ ...good, HIVESYNC_PROFILE, HIVESYNC_SECRET }, /^HIVESYNC_SECRET is missing: set it/)
      assert.deepEqual(problemsOf({ ...good, HIVESYNC_PROFILE }), [])
    }
  })

  test('that is weak, a placeholder or short is refused in every profile, without being shown', () => {
    for (const weak of [
      'changeme',
      'a'.repeat(43),
      `change-me-${secret}`,
      secret.slice(0, 30),
      'insecure default secret',
    ]) {
      refuses({ ...good, HIVESYNC_SECRET: weak }, /^HIVESYNC_SECRET: it /)
      refuses({ HIVESYNC_SECRET: weak }, /^HIVESYNC_SECRET: it /)
    }
  })

  test('may be a list with the newest first, each as strong and none twice', () => {
    const older = generateSecret()
    assert.deepEqual(parseConfig({ ...good, HIVESYNC_SECRET: `${secret}, ${older}` }).secrets, [secret, older])
    refuses({ ...good, HIVESYNC_SECRET: `${secret},weak` }, /^HIVESYNC_SECRET \(number 2\): it /)
    refuses({ ...good, HIVESYNC_SECRET: `${secret},` }, /^HIVESYNC_SECRET \(number 2\): it is missing/)
    refuses({ ...good, HIVESYNC_SECRET: `${secret},${secret}` }, /lists the same secret twice/)
  })

  test('may stand in a file that not everybody can read', () => {
    const { HIVESYNC_SECRET: _, ...env } = good
    assert.deepEqual(parseConfig({ ...env, HIVESYNC_SECRET_FILE: fileWith(`${secret}\n`) }).secrets, [secret])
    assert.deepEqual(parseConfig({ ...env, HIVESYNC_SECRET_FILE: fileWith(secret, 0o440) }).secrets, [secret])
    refuses({ ...env, HIVESYNC_SECRET_FILE: fileWith(secret, 0o644) }, /^HIVESYNC_SECRET_FILE .*everybody can read/)
    const missing = 'HIVESYNC_SECRET is missing'
    const problems = (path: string) => problemsOf({ ...env, HIVESYNC_SECRET_FILE: path }).join('\n')
    assert.match(problems(fileWith(' \n')), new RegExp(`an empty file\n${missing}`))
    assert.match(problems(join(folder, 'nowhere')), new RegExp(`cannot be read\n${missing}`))
    assert.match(problems(folder), /cannot be read|everybody can read/)
  })

  test('and its file together are refused, for each secret', () => {
    for (const name of ['HIVESYNC_SECRET', 'HIVESYNC_SETUP_TOKEN', 'PHAROS_ADMIN_TOKEN']) {
      const env = { ...good, [name]: generateSecret(), [`${name}_FILE`]: fileWith(generateSecret()) }
      refuses(env, new RegExp(`^${name} and ${name}_FILE are both set`))
    }
  })
})

test('an operator’s token is long, random, no placeholder and not the secret', () => {
  for (const name of ['PHAROS_ADMIN_TOKEN', 'HIVESYNC_SETUP_TOKEN']) {
    refuses({ ...good, [name]: secret.slice(0, 31) }, new RegExp(`^${name} must have at least 32`))
    refuses({ ...good, [name]: 'abcabcabc'.repeat(4) }, new RegExp(`^${name} is too easy to guess`))
    refuses({ ...good, [name]: 'change-this-admin-token-before-the-first-use' }, new RegExp(`^${name} is too easy`))
    refuses({ ...good, [name]: secret }, new RegExp(`^${name} must not be the same as HIVESYNC_SECRET`))
    assert.deepEqual(problemsOf({ ...good, [name]: generateSecret() }), [])
  }
})

test('staging and production want https, rates of 1, and certificates checked', () => {
  for (const HIVESYNC_PROFILE of ['staging', 'production']) {
    const env = { ...good, HIVESYNC_PROFILE }
    refuses({ ...env, HIVESYNC_PUBLIC_URL: 'http://hive.test' }, /^HIVESYNC_PUBLIC_URL must begin with https:/)
    refuses({ ...env, HIVESYNC_PUBLIC_URL: undefined }, /^HIVESYNC_PUBLIC_URL must begin with https:/)
    refuses({ ...env, HIVESYNC_RATE_SCALE: '2' }, /^HIVESYNC_RATE_SCALE must be 1/)
    refuses({ ...env, NODE_TLS_REJECT_UNAUTHORIZED: '0' }, /^NODE_TLS_REJECT_UNAUTHORIZED must not be 0/)
  }
})

test('the local profile listens on the loopback only', () => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'hive.test', '127.hive.test', '127.0.0.1.hive.test'])
    refuses({ HIVESYNC_HOST: host }, /^HIVESYNC_HOST must be a loopback address/)
  for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost'])
    assert.deepEqual(problemsOf({ HIVESYNC_HOST: host }), [])
  assert.deepEqual(problemsOf({ ...good, HIVESYNC_HOST: '0.0.0.0' }), [])
})

test('the public URL is an origin, kept as clients compare origins', () => {
  const urlOf = (text: string) => parseConfig({ ...good, HIVESYNC_PUBLIC_URL: text }).publicUrl
  assert.equal(urlOf('HTTPS://Hive.Test:443//'), 'https://hive.test')
  assert.equal(urlOf('https://hive.test:8443'), 'https://hive.test:8443')
  for (const url of [
    'hive.test',
    'https://hive.test/app',
    'https://h.test/?a',
    'https://u:p@h.test',
    'ftp://h.test',
    'javascript:1',
  ])
    assert.match(problemsOf({ HIVESYNC_PUBLIC_URL: url }).join(), /^HIVESYNC_PUBLIC_URL must be an origin/, url)
})

test('Redis on another machine is reached by TLS alone, in staging and production', () => {
  for (const url of ['redis://:hunter22@redis.test:6379', 'redis://:hunter22@127.0.0.1.redis.test'])
    refuses({ ...good, HIVESYNC_REDIS_URL: url }, /^HIVESYNC_REDIS_URL must begin with rediss:/)
  for (const url of ['http://:hunter22@redis.test', 'redis://', 'redis.test:6379'])
    refuses({ ...good, HIVESYNC_REDIS_URL: url }, /^HIVESYNC_REDIS_URL must be redis:/)
  for (const url of ['rediss://:p@redis.test', 'redis://127.0.0.1:6379/1', 'redis://[::1]'])
    assert.deepEqual(problemsOf({ ...good, HIVESYNC_REDIS_URL: url }), [])
  assert.deepEqual(problemsOf({ HIVESYNC_REDIS_URL: 'redis://redis.test' }), [])
})

describe('the database', () => {
  const verified = 'sslmode=verify-full'
  test('on another machine is reached only with its certificate verified, in staging and production', () => {
    for (const rest of [
      '',
      '?sslmode=disable',
      '?sslmode=require',
      '?sslmode=no-verify',
      `?${verified}&sslmode=disable`,
    ]) {
      refuses({ ...good, HIVESYNC_DATABASE_URL: `postgres://u:hunter22@db.test/h${rest}` }, /sslmode=verify-full/)
    }
    refuses({ ...good, HIVESYNC_DATABASE_URL: 'postgres://127.0.0.1/h?host=db.test' }, /sslmode=verify-full/)
    refuses({ ...good, HIVESYNC_DATABASE_URL: 'postgres:///h' }, /sslmode=verify-full/)
    assert.deepEqual(problemsOf({ ...good, HIVESYNC_DATABASE_URL: `postgresql://u:p@db.test/h?${verified}` }), [])
    assert.deepEqual(problemsOf({ HIVESYNC_DATABASE_URL: 'postgres://u:p@db.test/h' }), [])
  })

  test('on this machine needs none', () => {
    for (const place of ['127.0.0.1', '[::1]', 'localhost:5433', '%2Fvar%2Frun%2Fpostgresql']) {
      assert.deepEqual(problemsOf({ ...good, HIVESYNC_DATABASE_URL: `postgres://u:p@${place}/h` }), [], place)
    }
    assert.deepEqual(problemsOf({ ...good, HIVESYNC_DATABASE_URL: 'postgres:///h?host=/var/run/postgresql' }), [])
    assert.deepEqual(problemsOf({ ...good, HIVESYNC_DATABASE_URL: 'sqlite:/var/lib/hive.db' }), [])
  })

  test('of another kind, or whose address cannot be read, is refused without being shown', () => {
    for (const url of [
      'mysql://u:hunter22@h/d',
      'postgres:h',
      'postgres://u:hunter22@h:port/d',
      'postgres://%zz hunter22@@/',
    ])
      refuses({ ...good, HIVESYNC_DATABASE_URL: url }, /^HIVESYNC_DATABASE_URL must be sqlite:PATH or postgres:/)
  })
})

test('trusted proxies are addresses or ranges, never everybody', () => {
  for (const list of ['10.0.0.0/8', '10.0.0.1, 2001:db8::/32', '::1'])
    assert.deepEqual(problemsOf({ HIVESYNC_TRUSTED_PROXIES: list }), [], list)
  for (const list of [
    'true',
    '1',
    '*',
    '10.0.0.0/33',
    '10.0.0.0/0',
    '::/0',
    '10.0.0.0/8/8',
    'proxy.test',
    '10.0.0/8',
    'a,b',
  ])
    refuses({ HIVESYNC_TRUSTED_PROXIES: list }, /^HIVESYNC_TRUSTED_PROXIES must list/)
})

test('numbers, choices and folders are checked', () => {
  const wrong: Record<string, string[]> = {
    HIVESYNC_PORT: ['-1', '65536', '7070.5', '0x1', '1e3', 'http'],
    HIVESYNC_RATE_SCALE: ['0', '-1', '1.5', '1000001'],
    HIVESYNC_ACCESS_TOKEN_MINUTES: ['0', '61', 'ten'],
    HIVESYNC_PROFILE: ['Production', 'dev', 'prod'],
    HIVESYNC_REGISTRATION: ['yes', 'OPEN'],
    HIVESYNC_EMBEDDED_WORKER: ['true', '2'],
    HIVESYNC_LOCAL_REPOS: ['repos', '/srv,../etc'],
  }
  for (const [name, values] of Object.entries(wrong))
    for (const value of values) refuses({ [name]: value }, new RegExp(`^${name} must `))
})

test('metrics and logs go where they are told, and the metrics of their own accord nowhere but to this machine', () => {
  const { metricsListener, logFile, logLevel } = parseConfig({}).observability
  assert.deepEqual([metricsListener, logFile, logLevel], [null, null, 'info'])
  const set = parseConfig({
    HIVESYNC_METRICS_PORT: '9464',
    HIVESYNC_LOG_FILE: '/srv/server.log',
    HIVESYNC_LOG_FILES: '1',
  })
  assert.deepEqual(set.observability.metricsListener, { host: '127.0.0.1', port: 9464 })
  assert.deepEqual(set.observability.logFile, { path: '/srv/server.log', maxBytes: 104_857_600, keptFiles: 1 })
  const open = parseConfig({ HIVESYNC_METRICS_PORT: '9464', HIVESYNC_METRICS_HOST: '0.0.0.0' })
  assert.equal(open.observability.metricsListener?.host, '0.0.0.0')
  for (const env of [
    { HIVESYNC_METRICS_HOST: '0.0.0.0' },
    { HIVESYNC_METRICS_PORT: '70000' },
    { HIVESYNC_LOG_LEVEL: 'debug' },
  ])
    assert.throws(() => parseConfig(env), ConfigError, JSON.stringify(env))
})

test('traces go where they are told, with headers that nobody else reads', () => {
  assert.equal(parseConfig({}).observability.tracing, null)
  const env = { HIVESYNC_OTLP_URL: 'http://127.0.0.1:4318/v1/traces', HIVESYNC_OTLP_HEADERS: 'X-Key=a=b, y=2' }
  assert.deepEqual(parseConfig({ ...env, HIVESYNC_TRACE_RATIO: '0.25' }).observability.tracing, {
    ...{ url: 'http://127.0.0.1:4318/v1/traces', headers: { 'x-key': 'a=b', y: '2' }, ratio: 0.25 },
  })
  for (const wrong of [
    { HIVESYNC_OTLP_URL: 'grpc://127.0.0.1:4317' },
    { HIVESYNC_OTLP_URL: 'https://me:secret@traces.example.net' },
    { HIVESYNC_OTLP_URL: 'http://traces.example.net/v1/traces', HIVESYNC_OTLP_HEADERS: 'x-key=hunter2' },
    { HIVESYNC_OTLP_HEADERS: 'hunter2' },
    { HIVESYNC_OTLP_HEADERS: 'x=hunter2\nrequest' },
    { HIVESYNC_TRACE_RATIO: '2' },
    { HIVESYNC_TRACE_RATIO: '-0.1' },
  ])
    assert.throws(
      () => parseConfig(wrong),
      (error) => error instanceof ConfigError && !/hunter2|secret/.test(error.message),
      JSON.stringify(wrong),
    )
})

test('a name that is no setting is refused, those of the worker, the command line and the tests are not ours', () => {
  refuses({ HIVESYNC_SECRETS: secret }, /^HIVESYNC_SECRETS is not a setting/)
  refuses({ HIVESYNC_PORT_FILE: '/x' }, /^HIVESYNC_PORT_FILE is not a setting/)
  assert.deepEqual(problemsOf({ HIVESYNC_WORKER_X: '1', HIVESYNC_CLI_X: '1', HIVESYNC_TEST_X: '1', PATH: '/bin' }), [])
})

test('every problem is told at once, each once, and no value of a secret with them', () => {
  const problems = problemsOf({
    HIVESYNC_PROFILE: 'production',
    HIVESYNC_SECRET: 'hunter2-hunter2',
    HIVESYNC_SETUP_TOKEN: 'hunter2-setup',
    HIVESYNC_DATABASE_URL: 'postgres://u:hunter2-pw@db.test/h',
    HIVESYNC_RATE_SCALE: '5',
    HIVESYNC_TRUSTED_PROXIES: 'all,everybody',
    HIVESYNC_TYPO: 'hunter2-typo',
  })
  assert.equal(problems.length, 7, problems.join('\n'))
  assert.doesNotMatch(problems.join('\n'), /hunter2/)
})

test('a refused configuration ends the process with 78 and a line per problem on stderr', async () => {
  const script = `import { serveCommand } from './server/commands/serve.ts'; process.exitCode = await serveCommand([])`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: join(import.meta.dirname, '..', '..'),
    env: {
      PATH: process.env.PATH,
      HIVESYNC_PROFILE: 'production',
      HIVESYNC_SECRET: 'hunter2',
      HIVESYNC_RATE_SCALE: '9',
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk
    })
  assert.deepEqual(await once(child, 'close'), [78, null])
  assert.match(output, /^HIVESYNC_SECRET: [^\n]+\nHIVESYNC_PUBLIC_URL [^\n]+\nHIVESYNC_RATE_SCALE [^\n]+\n$/)
  assert.doesNotMatch(output, /hunter2/)
})
