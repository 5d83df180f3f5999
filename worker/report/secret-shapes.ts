/** Follows one place in a stream where a secret may have begun. */
export interface Suspicion {
  /** While it is open, nothing from here on may be shown. */
  readonly from: number
  /** Takes the next byte. `open`: it may still be one. `certain`: it is, and goes on. `over`: it ended before this byte, or was none. */
  step(byte: number, at: number, mark: (from: number, to: number) => void): 'open' | 'certain' | 'over'
}

export interface Shape {
  /** What it begins with. */
  readonly trigger: string
  readonly anyCase?: true
  /** It begins no word's middle: `task-` is no `sk-`. */
  readonly word?: true
  suspect(from: number, to: number): Suspicion
}

type Bytes = Uint8Array
function bytesOf(pattern: RegExp): Bytes {
  return Uint8Array.from({ length: 256 }, (_, byte) => (pattern.test(String.fromCharCode(byte)) ? 1 : 0))
}
const has = (bytes: Bytes, byte: number): boolean => bytes[byte] === 1

export const wordBytes = bytesOf(/[A-Za-z0-9_]/)
const letters = bytesOf(/[A-Za-z0-9]/)
const capitals = bytesOf(/[A-Z0-9]/)
const dashed = bytesOf(/[A-Za-z0-9_-]/)
const dotted = bytesOf(/[A-Za-z0-9_.-]/)
const digits = bytesOf(/[0-9]/)
const token68 = bytesOf(/[A-Za-z0-9._~+/=-]/)
const dot = 0x2e

/** A beginning that everybody knows, then at least so many bytes of a kind. */
function token(trigger: string, bytes: Bytes, atLeast: number, more: { word?: true; digit?: true } = {}): Shape {
  return {
    trigger,
    ...(more.word && { word: true }),
    suspect(from) {
      let count = 0
      let isLikely = more.digit !== true
      return {
        from,
        step(byte, at, mark) {
          if (!has(bytes, byte)) return 'over'
          count++
          isLikely ||= has(digits, byte)
          if (count < atLeast || !isLikely) return count < 200 ? 'open' : 'over'
          mark(from, at + 1)
          return 'certain'
        },
      }
    },
  }
}

const longestHeader = 4096
/** A JSON Web Token: two parts of Base64 at least, with a point between them. */
const webToken: Shape = {
  trigger: 'eyJ',
  suspect(from) {
    let part = 1
    let count = 3
    return {
      from,
      step(byte, at, mark) {
        if (part === 2 && count >= 10) {
          if (!has(dotted, byte)) return 'over'
          mark(from, at + 1)
          return 'certain'
        }
        if (part === 1 && byte === dot && count >= 10) {
          part = 2
          count = 0
          return 'open'
        }
        if (!has(dashed, byte) || ++count > longestHeader) return 'over'
        return 'open'
      },
    }
  },
}

const endOfAuthority = bytesOf(/[\0-\x20/?#"'<>\\`\x7f]/)
const longestAuthority = 2048
/** What stands before the `@` of an address: with a password, or as long as a token. A part too long to be a host is taken for one. */
const credentialsInAddress: Shape = {
  trigger: '://',
  suspect(_, start) {
    let from = start
    let isLikely = false
    return {
      get from() {
        return from
      },
      step(byte, at, mark) {
        if (has(endOfAuthority, byte)) return 'over'
        if (at - start >= longestAuthority) {
          mark(from, at + 1)
          return 'certain'
        }
        if (byte === 0x3a) isLikely = true
        if (byte === 0x40 && (isLikely || at - start >= 20)) {
          mark(start, at)
          from = at // an `@` of the password itself may be followed by another
        }
        return 'open'
      },
    }
  },
}

const separators = bytesOf(/[ \t"':=\\[]/)
const endOfValue = bytesOf(/[\r\n"'\\`]/)
/** The value of the header Authorization, to the end of its line or its quotes. */
const authorization: Shape = {
  trigger: 'authorization',
  anyCase: true,
  suspect(_, start) {
    let from = start
    let isAssigned = false
    let isValue = false
    return {
      get from() {
        return from
      },
      step(byte, at, mark) {
        if (!isValue && has(separators, byte)) {
          isAssigned ||= byte === 0x3a || byte === 0x3d
          from = at + 1
          return from - start > 16 ? 'over' : 'open'
        }
        if (!isAssigned || has(endOfValue, byte)) return 'over'
        isValue = true
        mark(from, at + 1)
        return 'certain'
      },
    }
  },
}

/** A bearer token outside of a header, as in the output of a client. */
const bearer: Shape = {
  trigger: 'bearer ',
  anyCase: true,
  word: true,
  suspect(_, start) {
    let from = start
    return {
      get from() {
        return from
      },
      step(byte, at, mark) {
        if (byte === 0x20 && at === from && at - start < 4) {
          from = at + 1
          return 'open'
        }
        if (!has(token68, byte)) return 'over'
        if (at + 1 - from < 16) return 'open'
        mark(from, at + 1)
        return 'certain'
      },
    }
  },
}

const longestLabel = 60
/** More than any key in use. */
const longestKey = 64 * 1024
/** A private key in PEM, from its first line to the end of its last, over however many lines. */
const privateKey: Shape = {
  trigger: '-----BEGIN ',
  suspect(from) {
    let label = ''
    let end = ''
    let isKey = false
    return {
      from,
      step(byte, at, mark) {
        const character = String.fromCharCode(byte)
        if (!isKey) {
          if (byte !== 0x2d) label += character
          else if (/PRIVATE KEY(?: BLOCK)?$/.test(label)) isKey = true
          else return 'over'
          return label.length > longestLabel ? 'over' : 'open'
        }
        if (end.length === endMark.length) {
          if (has(endOfValue, byte) || at - from > longestKey) return 'over'
        } else if (at - from > longestKey) return 'over'
        else end = nextEnd(end, character)
        mark(from, at + 1)
        return 'certain'
      },
    }
  },
}
const endMark = '-----END '
/** How much of the mark of the end the bytes so far end with. */
function nextEnd(end: string, character: string): string {
  if (endMark.startsWith(end + character)) return end + character
  if (character !== '-') return ''
  return end === '-----' ? end : '-'
}

const after = (triggers: string, bytes: Bytes, atLeast: number, more?: { word?: true; digit?: true }): Shape[] =>
  triggers.split(' ').map((trigger) => token(trigger, bytes, atLeast, more))

/** What is a secret by its looks, whoever printed it. */
export const secretShapes: readonly Shape[] = [
  privateKey,
  webToken,
  credentialsInAddress,
  authorization,
  bearer,
  ...after('hs_live_ hs_test_', letters, 20),
  ...after('hse_ hsr_ hso_ hsd_', dotted, 20, { word: true }),
  ...after('ghp_ gho_ ghu_ ghs_ ghr_ github_pat_', wordBytes, 20, { word: true }),
  ...after('glpat- glrt- gldt- glptt- glcbt- glft- glsoat-', dotted, 20),
  ...after('xoxb- xoxp- xoxa- xoxr- xoxs- xoxe- xapp-', dashed, 10),
  ...after('npm_ hf_ dop_v1_ dckr_pat_ shpat_', dashed, 20, { word: true }),
  ...after('sk-', dashed, 20, { word: true, digit: true }),
  ...after('sk_live_ sk_test_ rk_live_ rk_test_ whsec_', dashed, 16),
  ...after('AKIA ASIA', capitals, 16, { word: true }),
  ...after('AIza', dashed, 30, { word: true }),
  ...after('ya29.', dashed, 20, { word: true }),
  ...after('pypi-', dashed, 40, { word: true }),
  ...after('SG.', dotted, 40, { word: true }),
  ...after('hooks.slack.com/services/', bytesOf(/[A-Za-z0-9/]/), 20),
]
