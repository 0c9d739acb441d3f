// cspell:ignore aeiou
/**
 * Detects what copying, editors, shells and templates add to a string: line ends, blanks, quotes, invisible
 * characters. Descriptions do not show the string, which may be a secret. Pure.
 */

const NAMES: Readonly<Record<string, string>> = {
  '\0': 'NUL character',
  '\t': 'tab',
  '\n': 'newline',
  '\r': 'carriage return',
  ' ': 'blank',
  '\u0085': 'next line character',
  '\u00a0': 'no-break space',
  '\u00ad': 'soft hyphen',
  '\u061c': 'Arabic letter mark',
  '\u200b': 'zero width space',
  '\u200c': 'zero width non-joiner',
  '\u200d': 'zero width joiner',
  '\u200e': 'left-to-right mark',
  '\u200f': 'right-to-left mark',
  '\u2028': 'line separator',
  '\u2029': 'paragraph separator',
  '\u202a': 'left-to-right embedding',
  '\u202b': 'right-to-left embedding',
  '\u202c': 'pop directional formatting',
  '\u202d': 'left-to-right override',
  '\u202e': 'right-to-left override',
  '\u202f': 'narrow no-break space',
  '\u2060': 'word joiner',
  '\u2066': 'left-to-right isolate',
  '\u2067': 'right-to-left isolate',
  '\u2068': 'first strong isolate',
  '\u2069': 'pop directional isolate',
  '\u3000': 'ideographic space',
  '\u3164': 'Hangul filler',
  '\ufeff': 'byte order mark',
  '\ufffd': 'replacement character',
};

/** Names for kinds of characters without a name of their own. */
const KINDS: readonly (readonly [kind: RegExp, name: string])[] = [
  [/\p{Cc}/u, 'control character'],
  [/\p{Z}/u, 'space'],
  [/\p{C}/u, 'invisible character'],
];

/** Longer strings are no passwords, URLs or names, and checking each character takes time. */
const CHARS_MAX = 4096;

/** Blanks of every kind, and invisible characters. */
const UNSEEN = /[\s\p{C}\p{Z}\u3164]/u;
/** The same set without the space character, which is legitimate inside a string. */
const HIDDEN = /[^\S ]|[\p{C}\p{Zl}\p{Zp}\u3164\ufffd]|(?! )\p{Zs}/u;

const QUOTES: readonly (readonly [opening: string, closing: string, name: string])[] = [
  ['"', '"', 'double quotes'],
  ["'", "'", 'single quotes'],
  ['`', '`', 'backquotes'],
  ['“', '”', 'typographic quotes'],
  ['”', '”', 'typographic quotes'],
  ['„', '“', 'typographic quotes'],
  ['„', '”', 'typographic quotes'],
  ['‘', '’', 'typographic quotes'],
  ['’', '’', 'typographic quotes'],
  ['‚', '‘', 'typographic quotes'],
  ['«', '»', 'typographic quotes'],
  ['»', '«', 'typographic quotes'],
];

/** `a newline`, `a zero width space (U+200B)`. */
export function aCharacter(char = ''): string {
  const code = char.codePointAt(0) ?? 0;
  const point = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
  const name = NAMES[char] ?? KINDS.find(([kind]) => kind.test(char))?.[1] ?? 'character';
  const article = /^[aeiou]/i.test(name) ? 'an' : 'a';
  return `${article} ${/[\t\n\r ]/.test(char) ? name : `${name} (${point})`}`;
}

function quotesAround(core: readonly string[]): string[] {
  const [first = '', last = ''] = [core[0], core.at(-1)];
  const pair = QUOTES.find(([opening, closing]) => first === opening && last === closing);
  if (pair !== undefined && core.length > 1) return [`is enclosed in ${pair[2]}`];
  const opening = QUOTES.find(([quote]) => quote === first);
  const closing = QUOTES.find(([, quote]) => quote === last);
  const isAlone = (quote: string) => core.filter((char) => char === quote).length === 1;
  return [
    ...(opening !== undefined && isAlone(first) ? ['begins with a quote'] : []),
    ...(closing !== undefined && isAlone(last) && core.length > 1 ? ['ends with a quote'] : []),
  ];
}

/** Whether the string has blanks other than spaces, or invisible characters, anywhere. */
export function hasHidden(text: string): boolean {
  return HIDDEN.test(text);
}

/**
 * A predicate about the string, such as `ends with a newline`; null when there is no defect, or the string is very
 * long.
 */
export function defectOf(text: string): string | null {
  if (text.length > CHARS_MAX) return null;
  const chars = [...text];
  const isSeen = (char: string) => !UNSEEN.test(char);
  const from = chars.findIndex(isSeen);
  if (from === -1) return text === '' ? null : 'holds nothing but blanks or invisible characters';
  const to = chars.findLastIndex(isSeen);
  const core = chars.slice(from, to + 1);
  const hiddenAt = core.findIndex((char) => HIDDEN.test(char));
  const defects = [
    ...(from > 0 ? [`begins with ${aCharacter(chars[0])}`] : []),
    ...(to < chars.length - 1 ? [`ends with ${aCharacter(chars.at(-1))}`] : []),
    ...quotesAround(core),
    ...(hiddenAt === -1
      ? []
      : [`contains ${aCharacter(core[hiddenAt])} at character ${from + hiddenAt + 1}`]),
  ];
  return defects.length === 0 ? null : defects.join(' and ');
}

/** ` (it ends with a newline)`, to be appended to a sentence; empty without a defect. */
export function defectNote(text: string): string {
  const defect = defectOf(text);
  return defect === null ? '' : ` (it ${defect})`;
}
