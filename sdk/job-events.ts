import { JobPhaseEvent, JobProgressEvent, JobStateEvent, LogLine, watchJob } from '@hivesync/contracts/jobs.ts'
import { conforms, knownPart } from '@hivesync/contracts/schema.ts'
import type { Client } from './client.ts'
import { HiveSyncError } from './error.ts'
import type { EventsOptions } from './events.ts'
import type { ServerSentEvent } from './server-sent-events.ts'

export type JobEvent =
  | { type: 'state'; data: JobStateEvent }
  | { type: 'phase'; data: JobPhaseEvent }
  | { type: 'progress'; data: JobProgressEvent }
  | { type: 'log'; data: LogLine }

/** Follows a job until it has ended and all of its log is told; kinds of events that a newer server may send are passed over. */
export async function* watchJobEvents(
  client: Client,
  jobId: string,
  options: Omit<EventsOptions, 'isFinal'> & { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<JobEvent, void, undefined> {
  const { signal, ...rest } = options
  const stream = client.events(watchJob, { params: { jobId }, signal }, { ...rest, isFinal: isFinalEvent })
  for await (const event of stream) {
    const known = readJobEvent(event)
    if (known !== undefined) yield known
  }
}

/** A final `state` is not the end: log lines may follow it, and a retry may have followed it long ago. */
function isFinalEvent(event: ServerSentEvent): boolean {
  return event.event === 'end'
}

function readJobEvent({ event, data }: ServerSentEvent): JobEvent | undefined {
  if (event !== 'state' && event !== 'phase' && event !== 'progress' && event !== 'log') return undefined
  const value = parse(data)
  if (event === 'state' && conforms(JobStateEvent, value)) return { type: event, data: value }
  if (event === 'phase' && conforms(JobPhaseEvent, value)) return { type: event, data: value }
  if (event === 'progress' && conforms(JobProgressEvent, value)) return { type: event, data: value }
  const line = event === 'log' ? knownPart(LogLine, value) : undefined
  if (line !== undefined) return { type: 'log', data: line }
  throw new HiveSyncError('unexpected_reply', {
    title: 'An event of the job cannot be read',
    detail: `event ${event}`,
  })
}

function parse(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return undefined // refused by the caller's check
  }
}
