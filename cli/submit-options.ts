import type { NewJob } from '@hivesync/contracts/jobs.ts'
import { usageError } from './failure.ts'
import type { OptionValues } from './options.ts'
import { parseCount, parseSeconds } from './units.ts'

/** What every submission may say beside its input. */
export const submitOptions = {
  label: { type: 'string', multiple: true, value: 'LABEL', summary: 'only on a worker with this label' },
  pool: { type: 'string', value: 'POOL', summary: 'only on a worker of this pool; default unless given' },
  priority: { type: 'string', value: '0-9', summary: '5 unless given; a level is a head start of five minutes' },
  ttl: { type: 'string', value: 'TIME', summary: 'skip it when it has not started after so long; 1d unless given' },
  retries: { type: 'string', value: 'N', summary: 'try again so often when it fails; 0 unless given' },
  backoff: {
    type: 'string',
    value: 'TIME[..TIME]',
    summary: 'wait so long before it is tried again; with .. doubled each time up to the second: 10s..5m',
  },
} as const

export type SubmitSettings = Pick<NewJob, 'labels' | 'pool' | 'priority' | 'ttlSeconds' | 'maxAttempts' | 'backoff'>

export function readSubmitOptions(options: OptionValues<typeof submitOptions>): SubmitSettings {
  const { label, pool, priority, ttl, retries, backoff } = options
  return {
    labels: label.length === 0 ? undefined : [...label],
    pool,
    priority: priority === undefined ? undefined : parseCount(priority, '--priority', { min: 0, max: 9 }),
    ttlSeconds: ttl === undefined ? undefined : parseSeconds(ttl, '--ttl'),
    maxAttempts: retries === undefined ? undefined : parseCount(retries, '--retries', { min: 0, max: 19 }) + 1,
    backoff: backoff === undefined ? undefined : readBackoff(backoff),
  }
}

function readBackoff(text: string): NonNullable<NewJob['backoff']> {
  const [first = '', last, ...others] = text.split('..')
  if (others.length > 0) throw usageError('--backoff takes a time such as 30s, or two such as 10s..5m')
  const seconds = parseSeconds(first, '--backoff')
  if (last === undefined) return { strategy: 'fixed', seconds }
  return { strategy: 'exponential', seconds, maxSeconds: parseSeconds(last, '--backoff') }
}
