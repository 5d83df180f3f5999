import { HiveSyncError } from './error.ts'

export interface ServerSentEvent {
  /** '' when the server never sent one. */
  id: string
  event: string
  data: string
}

/** Longest event that is gathered; one log chunk is at most 16 KiB of text. */
const maxEventCharacters = 1024 * 1024

export interface EventParser {
  /** The events that this piece of the stream completes. */
  push(text: string): ServerSentEvent[]
  /** The id of the last complete event; also of one without data. */
  lastEventId(): string
  /** What the server asked for with `retry:`, if it did. */
  retryMs(): number | undefined
}

/** Reads `text/event-stream` (WHATWG HTML §9.2.6) piece by piece; an event cut off by the stream's end is dropped, as it says. */
export function createEventParser(initialId: string): EventParser {
  let buffer = ''
  let id = initialId
  let dispatchedId = initialId
  let event = ''
  let data: string[] = []
  let size = 0
  let retry: number | undefined
  let isStart = true

  function takeLine(line: string): ServerSentEvent | undefined {
    if (line === '') return dispatch()
    const colon = line.indexOf(':')
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'data') {
      data.push(value)
      size += value.length
    } else if (field === 'event') event = value
    else if (field === 'id' && !value.includes('\0')) id = value
    else if (field === 'retry' && /^\d{1,9}$/.test(value)) retry = Number(value)
    return undefined
  }

  function dispatch(): ServerSentEvent | undefined {
    // Not when the id is read: an event cut off after its id line would never be sent again.
    dispatchedId = id
    const complete =
      data.length === 0 ? undefined : { id, event: event === '' ? 'message' : event, data: data.join('\n') }
    event = ''
    data = []
    size = 0
    return complete
  }

  return {
    push(text) {
      buffer += isStart ? text.replace(/^\ufeff/, '') : text
      if (text !== '') isStart = false
      const events: ServerSentEvent[] = []
      // A CR at the very end may be half of a CRLF: it waits for the next piece.
      for (let end = buffer.search(/\r\n|\n|\r(?!$)/); end !== -1; end = buffer.search(/\r\n|\n|\r(?!$)/)) {
        const complete = takeLine(buffer.slice(0, end))
        if (complete !== undefined) events.push(complete)
        buffer = buffer.slice(end + (buffer.startsWith('\r\n', end) ? 2 : 1))
      }
      if (buffer.length + size > maxEventCharacters) {
        throw new HiveSyncError('reply_too_large', { title: 'An event is larger than this client accepts' })
      }
      return events
    },
    lastEventId: () => dispatchedId,
    retryMs: () => retry,
  }
}
