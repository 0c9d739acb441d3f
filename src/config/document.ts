/** YAML text → a plain value, and the position of each of its parts. */
import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments as parseYaml,
  visit,
  type Document as YamlDocument,
} from 'yaml';
import { type Path, type Position, UNRESOLVED } from './path.js';
import {
  misindentations,
  type PositionedWording,
  SYNTAX_MISTAKES,
  syntaxMistakes,
} from './syntax.js';
import { mismatch, showKey, statement, type Wording } from './wording.js';

/**
 * Ten times the values of a thousand routes; nested aliases could expand to billions. The limit must stay below the
 * argument count that overflows the stack: zod passes a list's issues as arguments.
 */
export const VALUES_MAX = 100_000;
/** The schema is six levels deep; the stack overflows far above this limit. */
export const DEPTH_MAX = 64;

const KNOWN_TAGS: ReadonlySet<string> = new Set(
  ['map', 'seq', 'str', 'int', 'float', 'bool', 'null'].map((name) => `tag:yaml.org,2002:${name}`),
);

export type Document =
  | { readonly kind: 'broken'; readonly mistakes: readonly PositionedWording[] }
  | {
      readonly kind: 'parsed';
      /** Mappings, lists and scalars; null for an empty file. */
      readonly value: unknown;
      /** Errors such as duplicate keys, which do not prevent further checks. */
      readonly mistakes: readonly PositionedWording[];
      /** The position of the key or value; for a missing path, the position of its nearest ancestor. */
      positionOf(path: Path, part: 'key' | 'value'): Position;
    };

/** A value with the positions of its parts. */
interface Placed {
  readonly value: unknown;
  readonly offset: number;
  readonly entries: ReadonlyMap<string | number, Entry>;
}

interface Entry {
  /** Null for an item of a list. */
  readonly keyOffset: number | null;
  readonly placed: Placed;
}

const TOO_MUCH = statement(
  `expected at most ${VALUES_MAX} values and ${DEPTH_MAX} levels, with all aliases`,
);

/** Stops reading a file with too many values, which could take very long. */
class TooMuchError extends Error {
  readonly position: Position;

  constructor(position: Position) {
    super();
    this.position = position;
  }
}

/** Reads the composed nodes; collects errors in valid YAML. */
class Reader {
  readonly found: PositionedWording[] = [];
  readonly #positionAt: (offset: number) => Position;
  readonly #targets: ReadonlyMap<Node, Node>;
  #values = 0;

  constructor(targets: ReadonlyMap<Node, Node>, positionAt: (offset: number) => Position) {
    this.#positionAt = positionAt;
    this.#targets = targets;
  }

  read(node: Node | null, around: number, depth = 0): Placed {
    const offset = node?.range?.[0] ?? around;
    this.#values += 1;
    if (this.#values > VALUES_MAX) throw new TooMuchError(this.#positionAt(offset));
    if (depth > DEPTH_MAX) {
      this.#mistake(offset, TOO_MUCH);
      return { value: UNRESOLVED, offset, entries: new Map() };
    }
    if (isAlias(node)) {
      const target = this.#targets.get(node);
      if (target !== undefined) return this.read(target, offset, depth + 1);
      this.#mistake(
        offset,
        mismatch('an alias of an anchor above it', {
          found: 'none of that name',
          hint: 'put a string that begins with * in quotes',
        }),
      );
      return { value: UNRESOLVED, offset, entries: new Map() };
    }
    // The parser has already reported the tag.
    if (node?.tag !== undefined && !KNOWN_TAGS.has(node.tag)) {
      return { value: UNRESOLVED, offset, entries: new Map() };
    }
    if (isMap(node))
      return this.#readMapping(node.items as Pair<Node, Node | null>[], offset, depth);
    if (isSeq(node)) {
      const items = node.items.map((item) => this.read(item as Node | null, offset, depth + 1));
      return {
        value: items.map((item) => item.value),
        offset,
        entries: new Map(items.map((placed, index) => [index, { keyOffset: null, placed }])),
      };
    }
    return { value: isScalar(node) ? node.value : null, offset, entries: new Map() };
  }

  #readMapping(pairs: readonly Pair<Node, Node | null>[], offset: number, depth: number): Placed {
    const own = new Map<string, Entry>();
    const merged = new Map<string, Entry>();
    for (const { key, value } of pairs) {
      const keyOffset = key.range?.[0] ?? offset;
      if (isScalar(key) && key.type === 'PLAIN' && key.value === '<<') {
        this.#merge(this.read(value, keyOffset, depth + 1), merged);
        continue;
      }
      const name = this.#keyName(key, keyOffset);
      if (name === null) continue;
      const first = own.get(name)?.keyOffset ?? null;
      if (first !== null) {
        const { line } = this.#positionAt(first);
        const text = `duplicate key ${showKey(name)}; it is already on line ${line}`;
        this.#mistake(keyOffset, statement(text));
      }
      own.set(name, { keyOffset, placed: this.read(value, keyOffset, depth + 1) });
    }
    const entries = new Map([...merged, ...own]);
    const values = Array.from(entries, ([name, { placed }]) => [name, placed.value] as const);
    return { value: Object.fromEntries(values), offset, entries };
  }

  /** The first mapping with a key wins. */
  #merge(source: Placed, merged: Map<string, Entry>): void {
    const sources = Array.isArray(source.value)
      ? Array.from(source.entries.values(), ({ placed }) => placed)
      : [source];
    for (const { value, offset, entries } of sources) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        this.#mistake(offset, statement('expected a mapping, or a list of them, to merge with <<'));
        continue;
      }
      for (const [name, entry] of entries) {
        if (typeof name === 'string' && !merged.has(name)) merged.set(name, entry);
      }
    }
  }

  #keyName(key: Node, offset: number): string | null {
    const node = isAlias(key) ? this.#targets.get(key) : key;
    // A plain object cannot have an ordinary key `__proto__`.
    if (isScalar(node) && node.value !== '__proto__') return String(node.value ?? '');
    this.#mistake(offset, statement('expected a string as a key, and not __proto__'));
    return null;
  }

  #mistake(offset: number, wording: Wording): void {
    this.found.push({ position: this.#positionAt(offset), wording });
  }
}

/** The target of each alias: the last node above it with that anchor. */
function aliasTargets(root: Node | null): Map<Node, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Node, Node>();
  visit(root, {
    Alias(_, alias) {
      const target = anchors.get(alias.source);
      if (target !== undefined) targets.set(alias, target);
    },
    Value(_, node) {
      if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

/** The offset of the deepest existing part of `path`. */
function offsetOf(root: Placed, path: Path, part: 'key' | 'value'): number {
  let placed = root;
  let keyOffset: number | null = null;
  for (const step of path) {
    const entry = placed.entries.get(step);
    if (entry === undefined) return keyOffset ?? placed.offset;
    ({ keyOffset, placed } = entry);
  }
  return part === 'key' ? (keyOffset ?? placed.offset) : placed.offset;
}

type Yaml = YamlDocument.Parsed;

/** The documents of the file, without empty ones such as after a final ---. */
function parse(text: string, lineCounter: LineCounter): readonly Yaml[] {
  const { stackTraceLimit } = Error;
  // The parser creates an Error per syntax error; collecting stacks would dominate its time.
  Error.stackTraceLimit = 0;
  try {
    const documents = parseYaml(text, {
      lineCounter,
      prettyErrors: false,
      version: '1.2',
      schema: 'core',
      resolveKnownTags: false,
      // The reader finds duplicates itself: in linear time, and including `1` and `"1"`.
      uniqueKeys: false,
    });
    const isEmpty = ({ contents, errors }: Yaml) =>
      errors.length === 0 && (contents === null || (isScalar(contents) && contents.source === ''));
    return (documents as readonly Yaml[]).filter((document) => !isEmpty(document));
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function parseWith(text: string, lineCounter: LineCounter): Document {
  const [first, second] = parse(text, lineCounter);
  const positionAt = (offset: number): Position => {
    const { line, col } = lineCounter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const contents = first?.contents ?? null;
  const errors = [...(first?.errors ?? []), ...(first?.warnings ?? [])];
  const misindented = misindentations(first?.errors ?? [], contents, text, positionAt);
  // With wrong indentation the structure is unreliable.
  if (misindented.length > 0) return { kind: 'broken', mistakes: misindented };
  const mistakes = syntaxMistakes(errors, text, positionAt);
  if (second !== undefined) {
    const wording = statement(SYNTAX_MISTAKES.MULTIPLE_DOCS);
    mistakes.push({ position: positionAt(second.range[0]), wording });
  }
  if (second !== undefined || (first?.errors.length ?? 0) > 0) return { kind: 'broken', mistakes };
  const reader = new Reader(aliasTargets(contents), positionAt);
  const root = reader.read(contents, 0);
  return {
    kind: 'parsed',
    value: root.value,
    mistakes: [...mistakes, ...reader.found],
    positionOf: (path, part) => positionAt(offsetOf(root, path, part)),
  };
}

export function parseDocument(text: string): Document {
  const broken = (position: Position, wording: Wording): Document => {
    return { kind: 'broken', mistakes: [{ position, wording }] };
  };
  try {
    return parseWith(text, new LineCounter());
  } catch (thrown) {
    if (thrown instanceof TooMuchError) return broken(thrown.position, TOO_MUCH);
    // The stack overflowed in the parser or in the reader.
    if (!(thrown instanceof RangeError)) throw thrown;
    return broken({ line: 1, column: 1 }, statement(SYNTAX_MISTAKES.RESOURCE_EXHAUSTION));
  }
}
