import type { JobAttempt } from '@hivesync/contracts/jobs.ts'
import { fieldLines } from './table.ts'
import type { Line } from './terminal.ts'
import { formatBytes, formatCount, formatDuration } from './units.ts'

type Members = Readonly<Record<string, unknown>>

/** What an attempt was held by and what it used, as its worker states it; nothing for one that left no receipt. */
export function receiptLines({ receipt, receiptVerified }: JobAttempt): Line[] {
  if (receipt === null) return []
  const { layers, usage, killed } = receipt
  // A worker of the version before wrote the figures beside the layers.
  const used = isMembers(usage) ? usage : receipt
  return fieldLines([
    ['layers', Array.isArray(layers) ? layers.filter((layer) => typeof layer === 'string').join(' ') : undefined],
    ['ran for', amount(used.wallMs, formatDuration)],
    ['CPU time', amount(used.cpuMs, formatDuration)],
    ['peak memory', amount(used.peakMemoryBytes, formatBytes)],
    ['peak tasks', amount(used.peakPids, formatCount)],
    ['ended at limit', typeof killed === 'string' ? killed : undefined],
    ['receipt', receiptVerified ? 'signed by the worker, verified' : 'not signed'],
  ])
}

function amount(value: unknown, format: (value: number) => string): string | undefined {
  return typeof value === 'number' ? format(value) : undefined
}

function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
