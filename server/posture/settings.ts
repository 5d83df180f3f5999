import type { Setting } from '@hivesync/contracts/oversight.ts'
import { plainNames, secretNames } from '../platform/config.ts'
import type { Environment } from '../platform/config-reader.ts'

/** How a server of this environment is configured, by name; of a secret only whether it is set, and from where. */
export function listSettings(env: Environment): Setting[] {
  const isSet = (name: string): boolean => (env[name]?.trim() ?? '') !== ''
  const secrets = secretNames.map((name): Setting => {
    const from = isSet(`${name}_FILE`) ? 'file' : isSet(name) ? 'environment' : 'default'
    return { name, value: from === 'default' ? null : 'set', isSecret: true, from }
  })
  const plain = plainNames.map((name): Setting => {
    const value = isSet(name) ? shown(name, env[name]?.trim() ?? '') : null
    return { name, value, isSecret: false, from: value === null ? 'default' : 'environment' }
  })
  return [...secrets, ...plain].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Some services that take events or traces know their senders by the path or query of an address alone. */
const tellingAddresses: ReadonlySet<string> = new Set(['HIVESYNC_AUDIT_SINK', 'HIVESYNC_OTLP_URL'])

function shown(name: string, value: string): string {
  const url = tellingAddresses.has(name) ? URL.parse(value) : null
  return url !== null && /^https?:$/.test(url.protocol) ? url.origin : value
}
