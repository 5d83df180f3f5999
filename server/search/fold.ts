// What upper-then-lower would get wrong: the dotless i is no i, and three letters have a twin that Unicode folds together
// with them though neither is the other's upper or lower case.
const exceptions: Readonly<Record<string, string>> = {
  '\u0131': '\u0131',
  '\u1fd3': '\u0390',
  '\u1fe3': '\u03b0',
  '\ufb05': '\ufb06',
}

// Unicode defines these properties over decomposed text, and so miss three letters.
const folding = /[\p{Changes_When_Casefolded}\p{Changes_When_Lowercased}\u1fbe\u1fd3\u1fe3]/gu

/**
 * The text without case differences: Unicode's simple case folding (CaseFolding.txt, statuses C and S; the rule of a
 * regular expression with the flags `iu`). One code point for one, of the same length in UTF-16, so that a position in the
 * result is the position in the text. Nothing else is folded: `ß` is not `ss`, and `é` is not `e`.
 */
export function foldCase(text: string): string {
  if (/^\p{ASCII}*$/u.test(text)) return text.toLowerCase()
  return text.replace(folding, foldCharacter)
}

function foldCharacter(character: string): string {
  const upper = onlyOne(character.toUpperCase(), character)
  return exceptions[character] ?? onlyOne(upper.toLowerCase(), upper)
}

// Full mappings give several characters (ß → SS); simple folding leaves those alone.
function onlyOne(mapped: string, fallback: string): string {
  return [...mapped].length === 1 ? mapped : fallback
}
