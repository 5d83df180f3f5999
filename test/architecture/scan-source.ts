/** One import, re-export or dynamic import of a source file. */
export interface Import {
  specifier: string
  line: number
  /** The words between `import` and `from`, for named imports; empty for bare and dynamic ones. */
  clause: string
  isDynamic: boolean
}

export interface ScannedSource {
  /** The source with the insides of comments, strings, templates and regular expressions blanked; lines keep their numbers. */
  code: string
  imports: Import[]
}

/**
 * Finds the imports of TypeScript source without a parser: a pass that knows comments, strings, templates and regular
 * expressions, enough for formatted code that compiles.
 */
export function scanSource(source: string): ScannedSource {
  const out = source.split('')
  const strings: { start: number; end: number }[] = []

  function blank(start: number, end: number): void {
    for (let at = start; at < end; at++) if (out[at] !== '\n') out[at] = ' '
  }

  /** Walks code up to the brace that closes a template's `${`, or to the end; returns the index after it. */
  function walk(from: number): number {
    let depth = 0
    for (let at = from; at < source.length; ) {
      const two = source.slice(at, at + 2)
      const one = source.charAt(at)
      if (two === '//') at = skip(at, indexOrEnd('\n', at))
      else if (two === '/*') at = skip(at, indexOrEnd('*/', at + 2) + 2)
      else if (one === "'" || one === '"') at = string(at)
      else if (one === '`') at = template(at)
      else if (one === '/' && startsRegex(at)) at = regex(at)
      else {
        if (one === '{') depth++
        if (one === '}' && depth-- === 0) return at + 1
        at++
      }
    }
    return source.length
  }

  function skip(start: number, end: number): number {
    blank(start, end)
    return end
  }

  function indexOrEnd(text: string, from: number): number {
    const index = source.indexOf(text, from)
    return index < 0 ? source.length : index
  }

  function string(start: number): number {
    const quote = source.charAt(start)
    let at = start + 1
    while (at < source.length && source.charAt(at) !== quote && source.charAt(at) !== '\n') {
      at += source.charAt(at) === '\\' ? 2 : 1
    }
    strings.push({ start, end: at })
    blank(start + 1, at)
    return at + 1
  }

  function template(start: number): number {
    let at = start + 1
    let blankFrom = at
    while (at < source.length && source.charAt(at) !== '`') {
      if (source.startsWith('${', at)) {
        blank(blankFrom, at)
        at = walk(at + 2)
        blankFrom = at
      } else at += source.charAt(at) === '\\' ? 2 : 1
    }
    blank(blankFrom, at)
    return at + 1
  }

  /** A slash divides after a value and opens a regular expression elsewhere. */
  function startsRegex(at: number): boolean {
    const before = out
      .slice(Math.max(0, at - 12), at)
      .join('')
      .trimEnd()
    return before === '' || /[([{,;=:!&|?+>}]$|\b(?:return|typeof|case|in|of|await)$/.test(before)
  }

  function regex(start: number): number {
    let at = start + 1
    for (let isClass = false; at < source.length && source.charAt(at) !== '\n'; at++) {
      const one = source.charAt(at)
      if (one === '\\') at++
      else if (one === '[') isClass = true
      else if (one === ']') isClass = false
      else if (one === '/' && !isClass) break
    }
    blank(start + 1, at)
    return at + 1
  }

  for (let at = 0; at < source.length; ) at = walk(at)
  const code = out.join('')
  return { code, imports: strings.flatMap(({ start, end }) => findImport(source, code, start, end)) }
}

function findImport(source: string, code: string, start: number, end: number): Import[] {
  const before = code.slice(Math.max(0, start - 4000), start)
  const specifier = source.slice(start + 1, end)
  const line = source.slice(0, start).split('\n').length
  if (/\bimport\s*\(\s*$/.test(before)) return [{ specifier, line, clause: '', isDynamic: true }]
  if (/(?:^|\n)\s*import\s*$/.test(before)) return [{ specifier, line, clause: '', isDynamic: false }]
  const clause = /(?:^|\n)\s*(?:import|export)\b([^'"`;]*?)\bfrom\s*$/.exec(before.slice(lastStatement(before)))?.[1]
  return clause === undefined ? [] : [{ specifier, line, clause, isDynamic: false }]
}

/** Where the last `import` or `export` at the start of a line begins. */
function lastStatement(text: string): number {
  return Math.max(0, text.lastIndexOf('\nimport'), text.lastIndexOf('\nexport'))
}
