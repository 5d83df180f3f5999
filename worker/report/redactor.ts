import { PatternAutomaton } from './pattern-automaton.ts'
import { type Mark, Seam } from './redactor-seam.ts'
import { type Shape, type Suspicion, secretShapes, wordBytes } from './secret-shapes.ts'
import { findSecretPatterns, minSecretLength, type SecretSources } from './secret-values.ts'

export const placeholder = '[redacted]'

/** Output of which the secrets are cut out. */
export interface Redacted {
  bytes: Buffer
  /** How far it stands for what was put in, counted in bytes from the beginning of the stream. */
  endByte: number
}

export interface RedactedStream {
  /** Takes output as it comes and gives what is free of secrets for certain; the rest, which may still become one, waits for what follows. */
  push(bytes: Uint8Array): Redacted
  /**
   * Gives what waited: the stream ends, or `skipped` bytes are missing before what is pushed next. The beginning of a secret is cut out as the whole is, and of
   * what follows missing bytes the line that they lie in, since it may begin with the end of one.
   */
  end(skipped?: number): Redacted
}

export interface Redactor {
  open(): RedactedStream
  /** Streams that a person may read as one: what begins in one of them and ends in another is cut out too. After a push to one, others may have more to give. */
  openTogether(count: number): RedactedStream[]
  text(text: string): string
  /** The same value with every text in it redacted, names of members included. */
  value<T>(value: T): T
  /** Steps taken so far over all streams, which a test of the cost counts. */
  steps(): number
}

/** Over several streams only values up to this are looked for: a longer one comes in lines, and each stream is searched for those. */
const maxSeamLength = 512
/** So much of what follows missing bytes is cut out where no line ends; no header is longer, see secret-shapes.ts. */
const maxTornBytes = 4096

/** Cuts a job's secrets out of all that leaves the machine, and whatever looks like a secret by itself. */
export function createRedactor(sources: SecretSources): Redactor {
  const patterns = findSecretPatterns(sources)
  const values = new PatternAutomaton(patterns)
  const seams = new PatternAutomaton(patterns.filter(({ length }) => length <= maxSeamLength))
  const tornBytes = patterns.reduce((most, { length }) => Math.max(most, length), maxTornBytes)
  const triggers = new PatternAutomaton(secretShapes.map(({ trigger }) => Buffer.from(trigger.toLowerCase())))
  const open = (seam?: Seam) => new Stream({ values, triggers, seam, tornBytes })
  const text = (input: string): string => {
    const stream = open()
    return Buffer.concat([stream.push(Buffer.from(input)).bytes, stream.end().bytes]).toString()
  }
  return {
    open: () => open(),
    openTogether(count) {
      const seam = new Seam(seams)
      return Array.from({ length: count }, () => open(seam))
    },
    text,
    value: (input) => mapTexts(input, text) as typeof input,
    steps: () => values.steps + triggers.steps + seams.steps,
  }
}

function mapTexts(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === 'string') return map(value)
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, map))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [map(name), mapTexts(item, map)]))
}

const fold = (byte: number): number => (byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte)

interface Span {
  from: number
  to: number
}

class Stream implements RedactedStream {
  readonly #values: PatternAutomaton
  readonly #triggers: PatternAutomaton
  readonly #seam: Seam | undefined
  readonly #tornBytes: number
  /** Up to here what follows missing bytes is cut out, unless its line ends before. */
  #tornUntil = 0
  #value = 0
  #trigger = 0
  #suspicions: { shape: Shape; suspicion: Suspicion; isOpen: boolean }[] = []
  /** Bytes from `#start` to `#end` of the stream; the first of them is also the byte before what waits. */
  #held = Buffer.alloc(256)
  #start = 0
  #end = 0
  /** Up to here everything was given. */
  #given = 0
  /** What to cut out of what is held, in order and apart. */
  #spans: Span[] = []
  /** The last byte given was cut out: what follows at once belongs to the same gap. */
  #isCutting = false

  constructor(parts: {
    values: PatternAutomaton
    triggers: PatternAutomaton
    seam: Seam | undefined
    tornBytes: number
  }) {
    this.#values = parts.values
    this.#triggers = parts.triggers
    this.#seam = parts.seam
    this.#tornBytes = parts.tornBytes
  }

  push(bytes: Uint8Array): Redacted {
    this.#hold(bytes)
    for (let at = this.#end - bytes.length; at < this.#end; at++) {
      const byte = this.#byteAt(at)
      if (at < this.#tornUntil) this.#takeTorn(byte, at)
      this.#seam?.take(byte, at, this.#mark)
      const isQuiet = this.#value === 0 && this.#trigger === 0 && this.#suspicions.length === 0
      if (!isQuiet || this.#values.begins(byte) || this.#triggers.begins(fold(byte))) this.#take(byte, at)
    }
    let safe = this.#end - Math.max(this.#values.depth(this.#value), this.#triggers.depth(this.#trigger))
    safe = Math.min(safe, this.#seam?.heldFrom(this.#mark) ?? safe)
    for (const { suspicion, isOpen } of this.#suspicions) if (isOpen) safe = Math.min(safe, suspicion.from)
    // What is cut out already is so whatever follows.
    const cut = this.#spans.find(({ to }) => to > safe)
    if (cut !== undefined && cut.from <= safe) safe = cut.to
    return this.#giveUntil(Math.max(safe, this.#given))
  }

  end(skipped = 0): Redacted {
    const depth = this.#values.depth(this.#value)
    if (depth >= minSecretLength) this.#mark(this.#end - depth, this.#end)
    this.#seam?.end()
    const rest = this.#giveUntil(this.#end)
    this.#start = this.#end + skipped
    this.#end = this.#start
    this.#given = this.#start
    this.#tornUntil = skipped > 0 ? this.#start + this.#tornBytes : 0
    this.#value = 0
    this.#trigger = 0
    // Of a secret that certainly goes on, such as a long key, more may follow what is missing.
    this.#suspicions = this.#suspicions.filter(({ isOpen }) => !isOpen)
    this.#isCutting = false
    return rest
  }

  #take(byte: number, at: number): void {
    if (this.#suspicions.length > 0) this.#stepSuspicions(byte, at)
    this.#value = this.#values.next(this.#value, byte)
    const length = this.#values.longest(this.#value)
    if (length > 0) this.#mark(at + 1 - length, at + 1)
    this.#trigger = this.#triggers.next(this.#trigger, fold(byte))
    if (this.#triggers.longest(this.#trigger) === 0) return
    for (const number of this.#triggers.patternsAt(this.#trigger)) {
      const shape = secretShapes[number]
      if (shape !== undefined) this.#suspect(shape, at + 1)
    }
  }

  #takeTorn(byte: number, at: number): void {
    if (byte === 0x0a) this.#tornUntil = at
    else this.#mark(at, at + 1)
  }

  #stepSuspicions(byte: number, at: number): void {
    let isOver = false
    for (const each of this.#suspicions) {
      const verdict = each.suspicion.step(byte, at, this.#mark)
      each.isOpen = verdict === 'open'
      isOver ||= verdict === 'over'
      if (verdict === 'over') this.#over.add(each)
    }
    if (!isOver) return
    this.#suspicions = this.#suspicions.filter((each) => !this.#over.delete(each))
  }
  readonly #over = new Set<object>()

  #suspect(shape: Shape, to: number): void {
    const from = to - shape.trigger.length
    // One that is followed already would end where this one does, and began before.
    if (this.#suspicions.some((each) => each.shape === shape)) return
    if (shape.word && from > this.#start && wordBytes[this.#byteAt(from - 1)] === 1) return
    if (!shape.anyCase)
      for (let i = 0; i < shape.trigger.length; i++) if (this.#byteAt(from + i) !== shape.trigger.charCodeAt(i)) return
    this.#suspicions.push({ shape, suspicion: shape.suspect(from, to), isOpen: true })
  }

  readonly #mark: Mark = (from, to) => {
    let start = Math.max(from, this.#given)
    let end = to
    for (let last = this.#spans.at(-1); last !== undefined && last.to >= start; last = this.#spans.at(-1)) {
      start = Math.min(start, last.from)
      end = Math.max(end, last.to)
      this.#spans.pop()
    }
    if (end > start) this.#spans.push({ from: start, to: end })
  }

  #byteAt(at: number): number {
    return this.#held[at - this.#start] ?? 0
  }

  /** Appends; what was given is let go when the place is full, so that small pieces do not move the rest each time. */
  #hold(bytes: Uint8Array): void {
    const keepFrom = Math.max(this.#start, this.#given - 1)
    if (this.#end - this.#start + bytes.length > this.#held.length) {
      const kept = this.#held.subarray(keepFrom - this.#start, this.#end - this.#start)
      const needed = kept.length + bytes.length
      const target = needed * 2 > this.#held.length ? Buffer.alloc(needed * 2) : this.#held
      target.set(kept)
      this.#held = target
      this.#start = keepFrom
    }
    this.#held.set(bytes, this.#end - this.#start)
    this.#end += bytes.length
  }

  #giveUntil(end: number): Redacted {
    const parts: Buffer[] = []
    let cut = 0
    while (this.#given < end) {
      const span = this.#spans[cut]
      if (span === undefined || span.from >= end) this.#giveAsIs(parts, end)
      else if (span.from > this.#given) this.#giveAsIs(parts, span.from)
      else {
        if (!this.#isCutting) parts.push(Buffer.from(placeholder))
        this.#isCutting = true
        this.#given = Math.min(span.to, end)
        if (span.to <= end) cut++
        else span.from = end
      }
    }
    this.#spans.splice(0, cut)
    return { bytes: Buffer.concat(parts), endByte: end }
  }

  #giveAsIs(parts: Buffer[], end: number): void {
    parts.push(Buffer.from(this.#held.subarray(this.#given - this.#start, end - this.#start)))
    this.#isCutting = false
    this.#given = end
  }
}
