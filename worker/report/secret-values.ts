/** Shorter values stay: cutting `true` or `1234` out of a log wherever they stand hides nothing and makes it unreadable. */
export const minSecretLength = 6
/** What is looked for costs memory, about thirty bytes for each of these. */
const maxPatternBytes = 1_000_000
/** Of a longer value no encodings are looked for, beside Base64. */
const maxEncodedLength = 4096

export interface SecretSources {
  /** The job's secrets: every value counts. */
  secrets?: Readonly<Record<string, string>>
  /** Its environment: the values of names that look like a secret's. */
  env?: Readonly<Record<string, string>>
  /** Its files: the values in those called `.env`, `.env.*` or `*.env`. */
  files?: readonly { path: string; content: string }[]
}

/** The secrets of a claimed job; its input is looked at before anybody has judged it. */
export function secretsOf(claim: {
  input: Readonly<Record<string, unknown>>
  secrets?: SecretSources['secrets']
}): SecretSources {
  const { env, files } = claim.input
  return {
    secrets: textsIn(claim.secrets),
    env: textsIn(env),
    files: Array.isArray(files) ? files.filter(isFile) : [],
  }
}

function textsIn(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {}
  return Object.fromEntries(Object.entries(value).filter(([, text]) => typeof text === 'string'))
}

function isFile(value: unknown): value is { path: string; content: string } {
  if (typeof value !== 'object' || value === null) return false
  const { path, content } = value as { path?: unknown; content?: unknown }
  return typeof path === 'string' && typeof content === 'string'
}

/**
 * The byte strings to cut out of all that a job says: the values of its secrets, each line of those that have several, and the forms in which they are often
 * printed. All values come first, then their encodings as far as a million bytes reach.
 */
export function findSecretPatterns(sources: SecretSources): Buffer[] {
  const values = findSecretValues(sources)
  const patterns = new Map<string, Buffer>()
  let bytes = 0
  const add = (text: string): void => {
    const pattern = Buffer.from(text)
    if (text.length < minSecretLength || patterns.has(text) || bytes + pattern.length > maxPatternBytes) return
    patterns.set(text, pattern)
    bytes += pattern.length
  }
  for (const value of values) for (const text of [value, value.trim(), ...linesOf(value)]) add(text)
  for (const value of values) for (const text of encodingsOf(value)) add(text)
  for (const value of values) for (const line of linesOf(value)) for (const text of encodingsOf(line)) add(text)
  return [...patterns.values()]
}

function findSecretValues({ secrets = {}, env = {}, files = [] }: SecretSources): string[] {
  const values = new Set(Object.values(secrets))
  for (const [name, value] of Object.entries(env)) if (looksSecret(name) && !isCommon(value)) values.add(value)
  for (const { path, content } of files) {
    if (!isEnvFile(path)) continue
    for (const [name, value] of parseEnvFile(content))
      if (!isCommon(value) && (looksSecret(name) || !isPlain(value))) values.add(value)
  }
  return [...values].filter((value) => value.trim().length >= minSecretLength)
}

/** Whether a variable of this name is likely to hold a secret. */
export function looksSecret(name: string): boolean {
  if (/TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|PRIVATE/i.test(name)) return true
  const parts = name.toUpperCase().split(/[^A-Z0-9]+/)
  return parts.length > 0 && name !== 'PWD' && name !== 'OLDPWD' && parts.some((part) => secretParts.has(part))
}
const secretParts = new Set(['KEY', 'KEYS', 'PASS', 'PWD', 'PIN', 'AUTH', 'DSN', 'COOKIE', 'SALT', 'PAT'])

const commonWords = new Set(
  'enabled disabled default production development staging testing localhost verbose warning example changeme undefined'.split(
    ' ',
  ),
)
function isCommon(value: string): boolean {
  return commonWords.has(value.trim().toLowerCase())
}

/** A word, a number, a version, an address or a path: what a settings file holds that is no secret. */
function isPlain(value: string): boolean {
  const text = value.trim()
  return (
    (text.length < 16 && /^[A-Za-z]+(?:[ _-][A-Za-z]+)*$/.test(text)) ||
    (text.length < 20 && /^[\d.:,/_-]+$/.test(text)) ||
    /^(?:\.{0,2}\/[\w./-]*|[a-z][a-z0-9+]*:\/\/[\w.-]+(?::\d+)?(?:\/[\w./-]*)?)$/i.test(text)
  )
}

export function isEnvFile(path: string): boolean {
  return /(?:^|\/)(?:\.env(?:\.[^/]*)?|[^/]*\.env)$/i.test(path)
}

/** Names and values as shells and dotenv read them: `export`, quotes, values over several lines, remarks. A quoted value also as it is written. */
export function parseEnvFile(text: string): [name: string, value: string][] {
  const found: [string, string][] = []
  const entry =
    /^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*[=:][ \t]*(?:'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|`([^`]*)`|([^\r\n]*))/gm
  for (const [, name = '', single, double, back, bare] of text.matchAll(entry)) {
    for (const quoted of [single, double, back]) if (quoted !== undefined) found.push([name, quoted])
    if (double?.includes('\\')) found.push([name, readEscapes(double)])
    if (bare !== undefined) found.push([name, bare.replace(/[ \t]#.*$/, '').trim()], [name, bare.trim()])
  }
  return found
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t' }
function readEscapes(text: string): string {
  return text.replace(/\\([\s\S])/g, (_, character: string) => escapes[character] ?? character)
}

function linesOf(value: string): string[] {
  return /[\r\n]/.test(value) ? value.split(/[\r\n]+/).map((line) => line.trim()) : []
}

/** The value in Base64 (also in the midst of more, and in lines), in hexadecimal, in an address and in JSON. */
function encodingsOf(value: string): string[] {
  if (value.length < minSecretLength) return []
  const bytes = Buffer.from(value)
  const encoded = base64Of(bytes)
  if (value.length <= maxEncodedLength) {
    const hex = bytes.toString('hex')
    const uri = encodeURIComponent(value.toWellFormed())
    const json = JSON.stringify(value).slice(1, -1)
    const ascii = json.replace(
      /[^\0-\x7f]/g,
      (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    )
    encoded.push(hex, hex.toUpperCase(), uri, uri.replaceAll('%20', '+'), uri.replace(/%[0-9A-F]{2}/g, lowerCase))
    encoded.push(json, json.replaceAll('/', '\\/'), ascii, JSON.stringify(json).slice(1, -1))
  }
  return encoded.filter((text) => text !== value)
}

const lowerCase = (text: string): string => text.toLowerCase()

/** What of the Base64 of any text that holds the value is always the same: by how many bytes stand before it, modulo three. */
function base64Of(bytes: Buffer): string[] {
  const found: string[] = []
  for (const [before, unstable] of [
    [0, 0],
    [1, 2],
    [2, 3],
  ] as const) {
    const stable = Math.floor(((before + bytes.length) * 8) / 6)
    found.push(
      Buffer.concat([Buffer.alloc(before), bytes])
        .toString('base64')
        .slice(unstable, stable),
    )
  }
  const [whole = ''] = found
  // As `base64` and `openssl` break lines.
  for (const width of [64, 76])
    if (whole.length > width) for (let at = 0; at < whole.length; at += width) found.push(whole.slice(at, at + width))
  return [...found, ...found.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'))]
}
