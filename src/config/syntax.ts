/** YAML syntax errors in the relay's words: the parser's messages may quote secrets from the file. */
import { type ErrorCode, isScalar, type Node, visit, type YAMLError } from 'yaml';
import { aCharacter } from '../lib/text-defect.js';
import type { Position } from './path.js';
import { statement, type Wording } from './wording.js';

/** Maximum number of reported errors; the next run reports the rest. */
export const SYNTAX_MISTAKES_MAX = 100;

export interface PositionedWording {
  readonly position: Position;
  readonly wording: Wording;
}

const QUOTES = 'put texts that begin with a special character in quotes';

/** The parser's error codes, described as sentences. */
export const SYNTAX_MISTAKES: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'not YAML: an alias (*name) stands alone, without an anchor or tag',
  BAD_ALIAS: `not YAML: an anchor or alias (& or *) without a proper name; ${QUOTES}`,
  BAD_COLLECTION_TYPE: 'not YAML: this tag does not fit this kind of value',
  BAD_DIRECTIVE: 'not YAML: this % line is no directive of YAML',
  BAD_DQ_ESCAPE: 'not YAML: no such \\ escape between double quotes; single quotes have no escapes',
  BAD_INDENT: 'not YAML: the indentation of this line matches no line above it',
  BAD_PROP_ORDER: 'not YAML: anchors and tags stand directly before their value',
  BAD_SCALAR_START: `not YAML: no text begins with this character; ${QUOTES}`,
  BLOCK_AS_IMPLICIT_KEY: 'not YAML: a second "key: value" inside a value; quotes or a new line',
  BLOCK_IN_FLOW: 'not YAML: no indented lists or mappings inside [ ] or { }',
  DUPLICATE_KEY: 'this key stands twice in its mapping',
  IMPOSSIBLE: 'not YAML',
  KEY_OVER_1024_CHARS: 'not YAML: a key of more than 1024 characters; is a : misplaced?',
  MISSING_CHAR: 'not YAML: expected a closing quote, bracket, comma or colon before this',
  MULTILINE_IMPLICIT_KEY: 'not YAML: a key on more than one line; is its : missing?',
  MULTIPLE_ANCHORS: 'not YAML: two anchors on one value',
  MULTIPLE_DOCS: 'expected one YAML document, found a second one here (after ---)',
  MULTIPLE_TAGS: 'not YAML: two tags on one value',
  NON_STRING_KEY: 'expected a string as a key',
  RESOURCE_EXHAUSTION: 'not YAML: nested too deeply',
  TAB_AS_INDENT: 'not YAML: expected a space here, found a tab',
  TAG_RESOLVE_FAILED: `expected no tag (!…) other than YAML's own; ${QUOTES}`,
  UNEXPECTED_TOKEN: `not YAML: expected nothing more here; inside [ ] and { } write "\${…}" in quotes`,
};

/** Characters that look like spaces; YAML accepts only spaces and some tabs. */
const LIKE_BLANK = /[^\S \t]|[\p{Zs}\p{Cf}](?<! )/u;
const LIKE_INDENTATION = /^(?:\s|[\p{Zs}\p{Cf}])*/u;

/** The first character of a line's indentation that is not a space, and its message. */
function findNonSpace(line: string): { readonly column: number; readonly text: string } | null {
  const [indentation = ''] = LIKE_INDENTATION.exec(line) ?? [];
  const at = indentation.search(/[^ ]/);
  if (at === -1) return null;
  const text = `not YAML: expected spaces as indentation, found ${aCharacter(indentation.charAt(at))}`;
  return { column: at + 1, text };
}

/** Other probable causes in a line, named `place`, at a syntax error; empty when there are none. */
function strayText(line: string, place: string): string {
  // In a flow mapping or list, YAML parses the variable's braces as its own.
  const unquoted = line.includes('${') ? '; inside [ ] or { }, a ${…} must be in quotes' : '';
  const [stray] = LIKE_BLANK.exec(line.trimEnd()) ?? [];
  if (stray === undefined) return unquoted;
  return `${unquoted}; ${place} contains ${aCharacter(stray)}: use a space`;
}

type SyntaxError = Pick<YAMLError, 'code' | 'pos'>;

/** The most informative errors, at most `SYNTAX_MISTAKES_MAX`. */
function selectInformative(errors: readonly SyntaxError[]): readonly SyntaxError[] {
  // Errors after the parser's resource limit are not about the file.
  const tooDeep = errors.find(({ code }) => code === 'RESOURCE_EXHAUSTION');
  if (tooDeep !== undefined) return [tooDeep];
  // After the parser loses the structure, every further token is unexpected.
  const astray = errors.find(({ code }) => code === 'UNEXPECTED_TOKEN');
  const distinct = new Map(errors.map((error) => [`${error.code} ${error.pos[0]}`, error]));
  return [...distinct.values()]
    .filter((error) => error.code !== 'UNEXPECTED_TOKEN' || error.pos[0] === astray?.pos[0])
    .slice(0, SYNTAX_MISTAKES_MAX);
}

type PositionAt = (offset: number) => Position;

/**
 * Lines with an error or a key that are indented with characters other than spaces, which YAML parses as the
 * beginning of the key.
 */
export function misindentations(
  errors: readonly SyntaxError[],
  contents: Node | null,
  text: string,
  positionAt: PositionAt,
): PositionedWording[] {
  const lines = text.split('\n');
  const found = new Map<number, PositionedWording>();
  const look = (offset: number) => {
    const { line } = positionAt(offset);
    const indentation = findNonSpace(lines[line - 1] ?? '');
    if (indentation === null || found.size === SYNTAX_MISTAKES_MAX) return;
    const position = { line, column: indentation.column };
    found.set(line, { position, wording: statement(indentation.text) });
  };
  for (const { pos } of selectInformative(errors)) look(pos[0]);
  visit(contents, {
    Pair(_, { key }) {
      const isPlain = isScalar(key) && key.type === 'PLAIN';
      if (isPlain && findNonSpace(String(key.value)) !== null) look(key.range?.[0] ?? 0);
    },
  });
  return [...found.values()];
}

export function syntaxMistakes(
  errors: readonly SyntaxError[],
  text: string,
  positionAt: PositionAt,
): PositionedWording[] {
  const lines = text.split('\n');
  return selectInformative(errors).map(({ code, pos }) => {
    const position = positionAt(pos[0]);
    const [before, line] = [lines[position.line - 2] ?? '', lines[position.line - 1] ?? ''];
    const stray = strayText(line, 'the line') || strayText(before, 'the line above');
    return { position, wording: statement(SYNTAX_MISTAKES[code] + stray) };
  });
}
