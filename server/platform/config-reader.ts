import { readFileSync, statSync } from 'node:fs'

/** Variables by name; an empty value counts as missing. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Reads single settings; each says what it must be and adds a problem when it is not, without repeating a secret. */
export function reader(env: Environment, problems: string[]) {
  const text = (name: string): string | null => {
    const value = env[name]?.trim()
    return value === undefined || value === '' ? null : value
  }
  return {
    text,
    /** Scheme, host and port, written as clients compare them: lower case, no slash at the end. */
    origin(name: string, fallback: string): string {
      const value = text(name)
      const url = URL.parse(value ?? fallback)
      const isOrigin =
        url !== null &&
        /^https?:$/.test(url.protocol) &&
        /^\/*$/.test(url.pathname) &&
        url.search + url.hash + url.username + url.password === ''
      if (isOrigin) return url.origin
      problems.push(
        `${value === null ? 'HIVESYNC_HOST' : name} must be ${value === null ? 'an address or a host name' : 'an origin such as https://hive.example.net'}`,
      )
      return fallback
    },
    list: (name: string): string[] =>
      (text(name) ?? '')
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== ''),
    oneOf<const T extends string>(name: string, choices: readonly T[], fallback: T): T {
      const value = text(name)
      const choice = choices.find((candidate) => candidate === value)
      if (value !== null && choice === undefined) problems.push(`${name} must be one of ${choices.join(', ')}`)
      return choice ?? fallback
    },
    integer(name: string, least: number, most: number, fallback: number): number {
      const value = text(name)
      if (value === null) return fallback
      if (/^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= most) return Number(value)
      problems.push(`${name} must be a whole number from ${least} to ${most}`)
      return fallback
    },
    secret(name: string): string | null {
      const direct = text(name)
      const file = text(`${name}_FILE`)
      if (direct !== null && file !== null) problems.push(`${name} and ${name}_FILE are both set: keep one`)
      if (direct !== null || file === null) return direct
      return readSecretFile(`${name}_FILE`, file, problems)
    },
  }
}

export type Reader = ReturnType<typeof reader>

/** `m=KIB,t=PASSES`; never below OWASP's smallest equivalents of 19 MiB and two passes, never above what one login may take. */
export function readPasswordCost(
  text: string | null,
  problems: string[],
): { memoryKib: number; passes: number } | null {
  if (text === null) return null
  const [, memory, passes] = /^m=(\d{1,7}),t=(\d{1,2})$/.exec(text) ?? []
  const cost = { memoryKib: Number(memory), passes: Number(passes) }
  const least = cost.passes === 1 ? 47_104 : cost.passes === 2 ? 19_456 : 12_288
  if (cost.passes >= 1 && cost.passes <= 10 && cost.memoryKib >= least && cost.memoryKib <= 1_048_576) return cost
  problems.push(
    'HIVESYNC_PASSWORD_COST must be m=KIB,t=PASSES, at least m=19456,t=2: take the output of `hivesync admin calibrate`',
  )
  return null
}

function readSecretFile(name: string, path: string, problems: string[]): string | null {
  try {
    // Others on the machine must not be able to read it; a group may (container secrets are often mounted so).
    if ((statSync(path).mode & 0o007) !== 0)
      problems.push(`${name} names a file that everybody can read: chmod o-rwx it`)
    const value = readFileSync(path, 'utf8').trim()
    if (value !== '') return value
    problems.push(`${name} names an empty file`)
  } catch {
    problems.push(`${name} names a file that cannot be read`)
  }
  return null
}
