import type { Endpoint } from '@hivesync/contracts/endpoint.ts'

/** The methods that exist at an address, for 405 with `Allow` (RFC 9110 §15.5.6). Only consulted when nothing matched. */
export function methodsFor(endpoints: readonly Endpoint[], url: string): string[] {
  const steps = (url.split('?')[0] ?? '').split('/')
  const methods = endpoints
    .filter((endpoint) => matches(endpoint.path.split('/'), steps))
    .map((endpoint) => endpoint.method)
  return [...new Set(methods)].sort()
}

/** Whether the steps of an address are those of a contract's path. */
export function matches(pattern: readonly string[], steps: readonly string[]): boolean {
  return (
    pattern.length === steps.length &&
    pattern.every((step, i) => (step.startsWith(':') ? steps[i] !== '' : step === steps[i]))
  )
}
