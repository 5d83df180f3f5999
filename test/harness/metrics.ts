import assert from 'node:assert/strict'

/** The series of a page in Prometheus' text format 0.0.4, which it must be: a type before the samples of a family, each family in one piece, no series twice. */
export function readMetrics(text: string): Map<string, number> {
  const series = new Map<string, number>()
  const families = new Set<string>()
  let family = ''
  assert.ok(text.endsWith('\n'))
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) continue
    const type = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary)$/.exec(line)
    if (type !== null) {
      family = type[1] ?? ''
      assert.ok(!families.has(family), `${family} twice`)
      families.add(family)
      continue
    }
    const sample = /^([a-zA-Z_:][\w:]*)((?:\{[^}]*\})?) (N[aA][nN]|[+-]?Inf|-?[0-9.e+-]+)$/.exec(line)
    const [, name = '', labels = '', value = ''] = sample ?? []
    assert.ok(name.startsWith(family) && family !== '', line)
    assert.ok(!series.has(name + labels), `${name}${labels} twice`)
    series.set(name + labels, Number(value.replace('Inf', 'Infinity')))
  }
  return series
}

/** The names of the families on a page, with what their histograms add. */
export function metricNames(text: string): Set<string> {
  const names = new Set<string>()
  for (const [, name = '', type] of text.matchAll(/^# TYPE (\S+) (\w+)$/gm)) {
    names.add(name)
    if (type === 'histogram') for (const suffix of ['_bucket', '_sum', '_count']) names.add(name + suffix)
  }
  return names
}
