/** The pattern language: Redis's glob on bytes, plus `{name}`, parsed into elements. Pure. */
import { printable } from '../lib/printable.js';
import { RelayError } from '../model/errors.js';

/** Structured keys are far shorter; the work per byte of a key grows with the pattern. */
export const PATTERN_BYTES_MAX = 256;
/** The work per byte of a key grows with the captures, and nobody uses that many. */
export const CAPTURES_MAX = 32;
/** Enough of the source to find the place in the configuration. */
const EXCERPT_CHARS_MAX = 40;

/** A pattern that matches nothing, or not what it appears to match. */
export class PatternError extends RelayError {
  readonly retryable = false;

  /** @param offset position in the source, in UTF-16 units */
  constructor(
    message: string,
    readonly offset: number,
  ) {
    super(message);
  }
}

/** The allowed bytes for one position: 1 at the index of each. */
export type ByteSet = Uint8Array;

export type Element =
  /** Exactly one byte of the set. */
  | { readonly kind: 'byte'; readonly set: ByteSet }
  /** One or more bytes other than `:`, captured under a name. */
  | { readonly kind: 'capture'; readonly name: string }
  /** Zero or more bytes. Two stars are never adjacent. */
  | { readonly kind: 'star' };

const ANY: ByteSet = new Uint8Array(256).fill(1);
/** One set per byte value, shared by all patterns. */
const ONLY: readonly ByteSet[] = Array.from(ANY, (_, byte) =>
  new Uint8Array(256).fill(1, byte, byte + 1),
);

const CAPTURE = /\{([A-Za-z_][A-Za-z0-9_]{0,63})\}/y;
const LONE_SURROGATE = /\p{Cs}/u;

function singleByte(byte: number | undefined): ByteSet {
  return ONLY[byte ?? 0] as ByteSet;
}

/** @throws {PatternError} at the first error */
export function parsePattern(source: string): Element[] {
  return new Parser(source).parse();
}

/** Parses a pattern's bytes like `stringmatchlen` of Redis 7 (util.c). */
class Parser {
  private readonly bytes: Buffer;
  private at = 0;
  private readonly elements: Element[] = [];
  private readonly names = new Set<string>();

  constructor(private readonly source: string) {
    const lone = source.search(LONE_SURROGATE);
    if (lone !== -1) {
      throw new PatternError(
        'expected text, found half of a surrogate pair; it has no UTF-8 bytes, so remove it',
        lone,
      );
    }
    this.bytes = Buffer.from(source, 'utf8');
  }

  parse(): Element[] {
    if (this.bytes.length === 0) {
      this.fail('expected a pattern, found an empty string; write `*` to match every key', 0);
    }
    if (this.bytes.length > PATTERN_BYTES_MAX) {
      this.fail(
        `expected at most ${PATTERN_BYTES_MAX} bytes, found ${this.bytes.length}; shorten the pattern, for instance with \`*\``,
        PATTERN_BYTES_MAX,
      );
    }
    while (this.at < this.bytes.length) this.readElement();
    return this.elements;
  }

  private readElement(): void {
    switch (this.char(this.at)) {
      case '*':
        this.at += 1;
        if (this.elements.at(-1)?.kind !== 'star') this.elements.push({ kind: 'star' });
        break;
      case '?':
        this.at += 1;
        this.elements.push({ kind: 'byte', set: ANY });
        break;
      case '[':
        this.elements.push({ kind: 'byte', set: this.readClass() });
        break;
      case '{':
        this.elements.push({ kind: 'capture', name: this.readCapture() });
        break;
      case '\\':
        if (this.at + 1 === this.bytes.length) {
          this.fail('expected a character after `\\`, found the end; write `\\\\` for a backslash');
        }
        this.at += 2;
        this.elements.push({ kind: 'byte', set: singleByte(this.bytes[this.at - 1]) });
        break;
      default:
        this.at += 1;
        this.elements.push({ kind: 'byte', set: singleByte(this.bytes[this.at - 1]) });
    }
  }

  private readCapture(): string {
    CAPTURE.lastIndex = this.at;
    const name = CAPTURE.exec(this.bytes.toString('latin1'))?.[1];
    if (name === undefined) {
      this.fail(
        'expected a capture such as `{name}` (a letter or `_`, then at most 63 letters, digits or ' +
          `\`_\`), found \`${this.excerpt()}\`; correct the name, or write \`\\{\` for a brace`,
      );
    }
    if (name === '__proto__') {
      this.fail(
        'expected a name that receivers can use safely, found `{__proto__}`; choose another one',
      );
    }
    if (this.names.has(name)) {
      this.fail(`expected each name once, found \`{${name}}\` again; rename one of them`);
    }
    if (this.names.size === CAPTURES_MAX) {
      this.fail(
        `expected at most ${CAPTURES_MAX} captures, found \`{${name}}\` beyond them; write \`*\` for what you do not need`,
      );
    }
    this.names.add(name);
    this.at += name.length + 2;
    return name;
  }

  private readClass(): ByteSet {
    const start = this.at;
    this.at += 1;
    const negated = this.char(this.at) === '^';
    if (negated) this.at += 1;
    const set = new Uint8Array(256);
    let tookBracket = false;
    for (;;) {
      const left = this.bytes.length - this.at;
      if (left === 0) this.failUnterminated(start, tookBracket);
      if (this.char(this.at) === '\\' && left >= 2) {
        set[this.bytes[this.at + 1] as number] = 1;
        tookBracket ||= this.char(this.at + 1) === ']';
        this.at += 2;
      } else if (this.char(this.at) === ']') {
        break;
      } else if (left >= 3 && this.char(this.at + 1) === '-') {
        tookBracket ||= this.char(this.at + 2) === ']';
        this.readRange(set);
      } else {
        set[this.bytes[this.at] as number] = 1;
        this.at += 1;
      }
    }
    this.at += 1;
    if (!negated && this.at === start + 2) {
      this.fail(
        'expected a character between `[` and `]`, found none, which matches no key; write `\\[` for ' +
          'a bracket, or `[\\]…]` for a class that begins with `]`',
        start,
      );
    }
    return negated ? set.map((allowed) => 1 - allowed) : set;
  }

  private readRange(set: ByteSet): void {
    const ends = [this.bytes[this.at] as number, this.bytes[this.at + 2] as number];
    const low = Math.min(...ends);
    const high = Math.max(...ends);
    if (low < 0x80 && high >= 0x80) {
      this.fail(
        'expected a range between two ASCII characters, found one with an end beyond ASCII, which ' +
          'Redis reads differently on different machines; a class stands for one byte, so write ' +
          'one pattern per character instead',
      );
    }
    set.fill(1, low, high + 1);
    this.at += 3;
  }

  private failUnterminated(start: number, tookBracket: boolean): never {
    const hint = tookBracket ? ' (a `]` right after `-` or `\\` does not close it)' : '';
    this.fail(
      `expected \`]\` to close the class, found the end${hint}; add it, or write \`\\[\` for a bracket`,
      start,
    );
  }

  /** The ASCII character at a position; other bytes yield a character without a meaning in patterns. */
  private char(at: number): string {
    return String.fromCharCode(this.bytes[at] ?? 0);
  }

  /** The source from the current position to its `}`, truncated for a message. */
  private excerpt(): string {
    const rest = this.source.slice(this.offsetOf(this.at));
    const close = rest.indexOf('}');
    return printable(close === -1 ? rest : rest.slice(0, close + 1), EXCERPT_CHARS_MAX);
  }

  private offsetOf(at: number): number {
    let start = at;
    while (((this.bytes[start] ?? 0) & 0xc0) === 0x80) start -= 1;
    return this.bytes.toString('utf8', 0, start).length;
  }

  private fail(message: string, at = this.at): never {
    throw new PatternError(message, this.offsetOf(at));
  }
}
