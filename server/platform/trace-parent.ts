/** What W3C Trace Context, level 1, calls a traceparent: version, trace id, parent id, flags. */
const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?$/

/**
 * The header as this server passes it on, in version 00; undefined for one that is malformed, or whose ids are all zeros (§3.2.2), which is then as if it had not
 * been sent. A later version is read as far as it says what this one does (§4.3).
 */
export function findTraceParent(header: string | string[] | undefined): string | undefined {
  if (typeof header !== 'string') return undefined
  const [, version, traceId, parentId, flags, more] = pattern.exec(header) ?? []
  if (traceId === undefined || parentId === undefined || flags === undefined || version === 'ff') return undefined
  if (version === '00' && more !== undefined) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined
  return `00-${traceId}-${parentId}-${(Number.parseInt(flags, 16) & 1) === 1 ? '01' : '00'}`
}
