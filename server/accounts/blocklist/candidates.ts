import { foldPassword } from '../blocklist.ts'
import { phrases } from './phrases.ts'

/** Nothing shorter passes the rules, whoever has a second factor. */
const least = 8
/** What most people need, so what is made up here has. */
const leastAlone = 15
/** How many of the most common words each pattern takes: so that the filter stays below 400 KB. */
const counts = { repeated: 20_000, paired: 180, spaced: 60, numbered: 6_000, dated: 700 }
const separators = [' ', '-', '_', '.']
const numberTails = [
  '123456789',
  '1234567890',
  '12345678',
  '1234567',
  '123456',
  '12345',
  '1234',
  '123',
  '1',
  '!',
  '123!',
]
const years = Array.from({ length: 51 }, (_, index) => String(1980 + index))
/** Rows, columns and the digits, as the finger walks. */
const walks = [
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  'qwertyuiop[]asdfghjkl;zxcvbnm,./',
  '1234567890qwertyuiopasdfghjklzxcvbnm',
  'qwertyuiop1234567890',
  'qwertyuiopqwertyuiopqwertyuiop',
  'asdfghjklasdfghjklasdfghjkl',
  'zxcvbnmzxcvbnmzxcvbnmzxcvbnm',
  'asdfghjklqwertyuiopzxcvbnm',
  'zxcvbnmasdfghjklqwertyuiop',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p',
  'qazwsxedcrfvtgbyhnujmikolp',
  'qaz1wsx2edc3rfv4tgb5yhn6ujm7',
  '1q2w3e4r5t6y7u8i9o0p',
  'q1w2e3r4t5y6u7i8o9p0',
  '1qa2ws3ed4rf5tg6yh7uj8ik9ol',
  '!qaz@wsx#edc$rfv%tgb^yhn&ujm*ik',
  '1qaz!qaz2wsx@wsx3edc#edc4rfv$rfv',
  'qweasdzxcqweasdzxcqweasdzxc',
  'qweasdzxcrtyfghvbnuiojklm',
  'qwerasdfzxcvqwerasdfzxcv',
  '1234qwerasdfzxcv1234qwerasdfzxcv',
  'qazxswedcvfrtgbnhyujmkiolp',
  'abcdefghijklmnopqrstuvwxyz',
  'abcdefghijklmnopqrstuvwxyz0123456789',
  'abcdefghijklmnopqrstuvwxyz1234567890',
  'zyxwvutsrqponmlkjihgfedcba',
  'a1b2c3d4e5f6g7h8i9j0k1l2m3',
  '1a2b3c4d5e6f7g8h9i0j1k2l3m',
  'aabbccddeeffgghhiijjkkllmm',
  'abcabcabcabcabcabcabcabcabcabcabcabc',
  'abc123abc123abc123abc123abc123abc123',
  'abcd1234abcd1234abcd1234abcd1234',
  'abcdefg1234567abcdefg1234567',
  '0123456789012345678901234567890123456789',
  '1234567890123456789012345678901234567890',
  '1234567891234567891234567891',
  '9876543210987654321098765432109876543210',
  '1234567890!@#$%^&*()_+',
  '!@#$%^&*()_+{}|:"<>?',
  '!@#$%^&*()1234567890',
  '1!2@3#4$5%6^7&8*9(0)',
  '31415926535897932384626433832795',
  '3.14159265358979323846264338327950',
  '27182818284590452353602874713526',
  '1123581321345589144233377610987',
  '2357111317192329313741434753',
  '112233445566778899001122334455667788',
  '111222333444555666777888999000',
  '1111222233334444555566667777888899990000',
  '147258369147258369147258369',
  '123123123123123123123123123123123123',
  '123454321234543212345432123',
  '13579246801357924680135792468',
  '00112233445566778899aabbccddeeff',
  '0123456789abcdef0123456789abcdef',
  'deadbeefdeadbeefdeadbeefdeadbeef',
]

/**
 * The passwords of the list that comes along, in lower case: of a list of common ones (most common first) those long enough, and what people make of
 * them where 15 characters are demanded. The same list gives the same set.
 */
export function listCommonPasswords(common: readonly string[]): Set<string> {
  const words = [...new Set(common.map(foldPassword))]
  const made = [repeated(words), paired(words), numbered(words), dated(words), walked(), monotonous(), spelled()]
  const long = made.flat().filter((text) => countCodePoints(text) >= leastAlone)
  return new Set([...words.filter((word) => countCodePoints(word) >= least), ...long.map(foldPassword)])
}

/** A word as often as it takes; the most common ones once more. */
function repeated(words: readonly string[]): string[] {
  return words.slice(0, counts.repeated).flatMap((word, index) => {
    const times = Math.max(2, Math.ceil(leastAlone / countCodePoints(word)))
    const once = word.repeat(times)
    return index < 2_000 ? [once, word.repeat(times + 1), Array(times).fill(word).join(' ')] : [once]
  })
}

function paired(words: readonly string[]): string[] {
  const first = words.filter((word) => /^[a-z]{6,}$/.test(word))
  const close = first.slice(0, counts.paired).flatMap((a) => first.slice(0, counts.paired).map((b) => a + b))
  const apart = first
    .slice(0, counts.spaced)
    .flatMap((a) => first.slice(0, counts.spaced).flatMap((b) => separators.map((between) => a + between + b)))
  return [...close, ...apart]
}

function numbered(words: readonly string[]): string[] {
  return words.slice(0, counts.numbered).flatMap((word) => numberTails.map((tail) => word + tail))
}

/** A word with a year, and an exclamation mark where a rule asked for a special character. */
function dated(words: readonly string[]): string[] {
  const long = words.filter((word) => /^[a-z]{10,}$/.test(word)).slice(0, counts.dated)
  return long.flatMap((word) => years.flatMap((year) => [word + year, `${word}${year}!`]))
}

/** Every beginning of every walk, to and fro. */
function walked(): string[] {
  return walks.flatMap((walk) => {
    const back = [...walk].reverse().join('')
    return [walk, back].flatMap((way) =>
      Array.from({ length: way.length - leastAlone + 1 }, (_, index) => way.slice(0, leastAlone + index)),
    )
  })
}

/** One printable ASCII character, or two in turn that lie side by side, 15 to 40 times. */
function monotonous(): string[] {
  const characters = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))
  return characters.flatMap((character, index) => {
    const lengths = Array.from({ length: 26 }, (_, more) => leastAlone + more)
    const next = characters[index + 1] ?? ' '
    const single = lengths.map((length) => character.repeat(length))
    return /[\da-z]/.test(character)
      ? [...single, ...lengths.map((n) => (character + next).repeat(n).slice(0, n))]
      : single
  })
}

/** The sayings in one word, with spaces, dashes, dots or underscores, and with what a rule made people add. */
function spelled(): string[] {
  return phrases.flatMap((phrase) => {
    const spellings = ['', ...separators].map((between) => phrase.split(' ').join(between))
    return spellings.flatMap((text) => [text, `${text}1`, `${text}!`, `${text}.`, `${text}123`])
  })
}

function countCodePoints(text: string): number {
  return [...text].length
}
