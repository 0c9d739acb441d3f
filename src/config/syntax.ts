/** YAML's syntax errors in our words; the parser's own may quote the file, and with it a secret. */
import type { ErrorCode } from 'yaml';

const QUOTES = 'put texts that begin with a special character in quotes';

/** What the parser found, as a sentence. */
export const SYNTAX_MISTAKES: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'not YAML: an alias (*name) stands alone, without an anchor or tag',
  BAD_ALIAS: `not YAML: an anchor or alias (& or *) without a proper name; ${QUOTES}`,
  BAD_COLLECTION_TYPE: 'not YAML: this tag does not fit this kind of value',
  BAD_DIRECTIVE: 'not YAML: this % line is no directive of YAML',
  BAD_DQ_ESCAPE: 'not YAML: no such \\ escape between double quotes; single quotes have no escapes',
  BAD_INDENT: 'not YAML: this line is indented in a way that fits nothing above it',
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
  NON_STRING_KEY: 'expected a text as a key',
  RESOURCE_EXHAUSTION: 'not YAML: nested too deeply',
  TAB_AS_INDENT: 'not YAML: expected spaces as indentation, found a tab',
  TAG_RESOLVE_FAILED: `expected no tag (!…) other than YAML's own; ${QUOTES}`,
  UNEXPECTED_TOKEN: `not YAML: expected nothing more here; inside [ ] and { } write "\${…}" in quotes`,
};
