import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { createMetricsPage } from '../../server/operations/operations.ts'
import { createMemoryWindows } from '../../server/platform/limits/memory-windows.ts'
import { describeHive } from '../harness/hive.ts'
import { metricNames } from '../harness/metrics.ts'

// Has no types of its own.
const { load } = createRequire(import.meta.url)('js-yaml') as { load(text: string): unknown }
const folder = join(import.meta.dirname, '..', '..', 'deploy', 'prometheus')
const run = promisify(execFile)
const isRequired = process.env.HIVESYNC_TEST_REQUIRE_SERVICES === '1'
const isThere = spawnSync('promtool', ['--version']).error === undefined
const skip = isThere || isRequired ? false : 'promtool is not installed (Debian package prometheus)'

interface Rules {
  groups: { rules: { alert: string; expr: string; annotations: { summary: string } }[] }[]
}
interface RuleTests {
  tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[]
}
interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[]
}

const rules = (load(readFileSync(join(folder, 'hivesync.rules.yml'), 'utf8')) as Rules).groups.flatMap(
  (group) => group.rules,
)
const { tests } = load(readFileSync(join(folder, 'hivesync.rules.test.yml'), 'utf8')) as RuleTests
const dashboard: Dashboard = JSON.parse(readFileSync(join(folder, '..', 'grafana', 'hivesync.json'), 'utf8'))

test('each alert fires on what it is about and is quiet without it, says Prometheus’ own tool', { skip }, async () => {
  await run('promtool', ['check', 'rules', 'hivesync.rules.yml'], { cwd: folder })
  await run('promtool', ['test', 'rules', 'hivesync.rules.test.yml'], { cwd: folder })
})

test('no alert is without a test of both', () => {
  const cases = tests.flatMap((each) => each.alert_rule_test)
  for (const { alert } of rules) {
    const expected = cases.filter(({ alertname }) => alertname === alert).map(({ exp_alerts }) => exp_alerts.length > 0)
    assert.deepEqual(expected.sort(), [false, true], alert)
  }
})

describeHive(
  'the figures that are asked for',
  (open) => {
    test('are all on the page of a real server, by name', async () => {
      await using hive = await open()
      const page = createMetricsPage(hive.ctx, createMemoryWindows(hive.clock.now))
      const known = metricNames(await page.text())
      // Prometheus' own.
      known.add('up')
      const asked = [
        ...rules.map(({ expr }) => expr),
        ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ]
      for (const expr of asked) for (const name of metricsIn(expr)) assert.ok(known.has(name), `${name} in ${expr}`)
    })
  },
  { only: 'sqlite' },
)

/** The names before a selector or a range: what is left without strings, labels, functions and durations. */
function metricsIn(expr: string): string[] {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(?:by|without|on|ignoring) *\([^)]*\)/g, '')
  const words = bare.match(/[a-z_][a-z0-9_]*(?! *\()\b/g) ?? []
  return words.filter((word) => !['and', 'or', 'unless'].includes(word) && /_|^up$/.test(word))
}
