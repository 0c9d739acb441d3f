/**
 * Matches keys against patterns. Pure, and linear in the key's length for every pattern: the matcher never
 * backtracks.
 */
import type { Params, Pattern } from '../model/pattern.js';
import { type Element, parsePattern } from './glob.js';

export { PatternError } from './glob.js';

const COLON = 0x3a;

/**
 * Compiles a `match` of the configuration.
 *
 * The pattern is its UTF-8 bytes; `?` and a class each match one byte. Everything that Redis's `KEYS` and `SCAN …
 * MATCH` accept is accepted, quirks included: a class ends at its first `]` that is neither escaped nor the end of
 * a range (so `[a-]` is unterminated), `[^]` is any byte, a range may be written backwards, and the empty key
 * matches `*` alone, not even `**`. `{name}` matches one or more bytes other than `:`; outside a class, `\{` is a
 * literal brace.
 *
 * When a key can be divided in several ways, each `*` and `{name}`, from left to right, matches as many bytes as
 * possible while the rest still matches, like a greedy regular expression: `{a}-{b}` divides `1-2-3` into `1-2` and
 * `3`.
 *
 * `match` returns copies: params neither retain the key's memory nor change with it. The object has no prototype.
 * The time is proportional to the key's length times, at worst, the pattern's; apart from the copies, the memory
 * does not depend on the key.
 *
 * @throws {PatternError} for a pattern that Redis reads differently than its author expects, or that never matches
 */
export function compilePattern(source: string): Pattern {
  const elements = parsePattern(source);
  const names = elements.flatMap((element) => (element.kind === 'capture' ? [element.name] : []));
  const match = matcherOf(elements);
  const matchesEmptyKey = source === '*';
  return {
    source,
    names,
    matches: (key) => (key.length === 0 ? matchesEmptyKey : match(key) !== null),
    match: (key) => {
      if (key.length === 0) return matchesEmptyKey ? paramsOf([], [], key) : null;
      const spans = match(key);
      return spans === null ? null : paramsOf(names, spans, key);
    },
  };
}

/** The start and end of each capture, alternating, in pattern order. */
type Spans = number[];

function paramsOf(names: readonly string[], spans: Spans, key: Uint8Array): Params {
  const params: Record<string, Buffer> = Object.create(null);
  names.forEach((name, index) => {
    params[name] = Buffer.from(key.subarray(spans[2 * index], spans[2 * index + 1]));
  });
  return params;
}

/**
 * Most patterns are unambiguous at both ends, and many throughout: there, one pass over the bytes is enough. Only
 * the part between needs the simulation.
 */
function matcherOf(elements: readonly Element[]): (key: Uint8Array) => Spans | null {
  const { front, middle, back } = divide(elements);
  const backReversed = back.toReversed();
  const bytesMin = elements.filter((element) => element.kind !== 'star').length;
  const middleIsStar = middle.length === 1 && middle[0]?.kind === 'star';
  const search = compileSearch(middle);
  return (key) => {
    if (key.length < bytesMin) return null;
    const spans: Spans = [];
    const start = walkForward(front, key, spans);
    if (start === -1) return null;
    const backSpans: Spans = [];
    const end = walkBackward(backReversed, key, start, backSpans);
    if (end === -1) return null;
    if (middle.length === 0 ? start !== end : !middleIsStar && !search(key, start, end, spans)) {
      return null;
    }
    for (let index = backSpans.length - 1; index >= 0; index -= 1) {
      spans.push(backSpans[index] ?? 0);
    }
    return spans;
  };
}

interface Division {
  readonly front: readonly Element[];
  readonly middle: readonly Element[];
  readonly back: readonly Element[];
}

/**
 * The ends where every element's bytes are fixed: single bytes, and a capture with a `:` on its inner side, which
 * ends at the first `:` because a capture contains none.
 */
function divide(elements: readonly Element[]): Division {
  let start = 0;
  while (isCertain(elements[start], elements[start + 1])) start += 1;
  let end = elements.length;
  while (
    end > start &&
    isCertain(elements[end - 1], end - 2 < start ? undefined : elements[end - 2])
  ) {
    end -= 1;
  }
  return {
    front: elements.slice(0, start),
    middle: elements.slice(start, end),
    back: elements.slice(end),
  };
}

function isCertain(element: Element | undefined, inner: Element | undefined): boolean {
  if (element?.kind === 'byte') return true;
  if (element?.kind !== 'capture' || inner?.kind !== 'byte') return false;
  return inner.set.every((allowed, byte) => allowed === (byte === COLON ? 1 : 0));
}

/** Returns the end of the bytes that match `front`, or -1. */
function walkForward(front: readonly Element[], key: Uint8Array, spans: Spans): number {
  let at = 0;
  for (const element of front) {
    if (element.kind === 'byte') {
      if (at === key.length || element.set[key[at] as number] === 0) return -1;
      at += 1;
    } else {
      const start = at;
      while (at < key.length && key[at] !== COLON) at += 1;
      if (at === start) return -1;
      spans.push(start, at);
    }
  }
  return at;
}

/** Returns the start of the bytes that match `back`, not before `floor`, or -1. */
function walkBackward(
  backReversed: readonly Element[],
  key: Uint8Array,
  floor: number,
  spansReversed: Spans,
): number {
  let at = key.length;
  for (const element of backReversed) {
    if (element.kind === 'byte') {
      if (at === floor || element.set[key[at - 1] as number] === 0) return -1;
      at -= 1;
    } else {
      const end = at;
      while (at > floor && key[at - 1] !== COLON) at -= 1;
      if (at === end) return -1;
      spansReversed.push(end, at);
    }
  }
  return at;
}

/** The start or end of a capture on the path to a state, linked to the earlier ones. */
interface Mark {
  readonly at: number;
  readonly previous: Mark | null;
}

const NO_MARK: Mark = { at: -1, previous: null };

/**
 * Pike's simulation of a nondeterministic automaton: follows all divisions of the bytes at once, with one state per
 * element ("is in it, or has just passed it"). `reached[s]` is the best path to state s, as its capture bounds, or
 * null when there is none; `reached[0]` is the start.
 *
 * A path that enters a state from the previous state is always better than the path already there: it left each
 * earlier `*` and `{name}` no sooner. This holds because paths pass states one by one, `*` included: a path that
 * falls behind another has met it in a state, where the better of the two stayed. Paths thus need no priorities.
 */
function compileSearch(
  elements: readonly Element[],
): (key: Uint8Array, start: number, end: number, spans: Spans) => boolean {
  const last = elements.length;
  const width = last + 1;
  const moves = movesOf(elements);
  const beginsWithStar = elements[0]?.kind === 'star';
  /** Filled only during a search. */
  const reached: (Mark | null)[] = new Array(width).fill(null);

  return (key, start, end, spans) => {
    reached.fill(null);
    reached[0] = NO_MARK;
    if (beginsWithStar) reached[1] = NO_MARK;
    /** The highest reached state. */
    let top = beginsWithStar ? 1 : 0;
    for (let at = start; at < end; at += 1) {
      const row = (key[at] as number) * width;
      const limit = Math.min(last, top + 2);
      /** The previous state's path, before and after this byte. */
      let before = reached[0] as Mark | null;
      let after: Mark | null = null;
      reached[0] = null;
      top = -1;
      for (let state = 1; state <= limit; state += 1) {
        const was = reached[state] as Mark | null;
        if (was === null && before === null && after === null) continue;
        const move = moves[row + state] as number;
        let now: Mark | null = null;
        if (after !== null && (move & FOLLOWS) !== 0) now = addMarks(after, move, at + 1);
        else if (before !== null && (move & ENTERS) !== 0) now = addMarks(before, move, at);
        else if (was !== null && (move & STAYS) !== 0) now = was;
        if (now !== was) reached[state] = now;
        if (now !== null) top = state;
        before = was;
        after = now;
      }
      if (top === -1) return false;
    }
    const found = reached[last] as Mark | null;
    reached.fill(null);
    if (found === null) return false;
    const bounds: number[] = elements[last - 1]?.kind === 'capture' ? [end] : [];
    for (let mark = found; mark.previous !== null; mark = mark.previous) bounds.push(mark.at);
    spans.push(...bounds.reverse());
    return true;
  };
}

/** The byte moves a path from the previous state into this one. */
const ENTERS = 1;
/** A path may stay in this state over the byte. */
const STAYS = 2;
/** The state of a star, which is entered without a byte: a path reaches it with the previous state. */
const FOLLOWS = 4;

/** Entering this state ends the previous capture. */
const CLOSES = 8;
/** Entering this state begins a capture. */
const OPENS = 16;

/** The transitions of each byte and state, at `byte * (elements + 1) + state`: contiguous per byte. */
function movesOf(elements: readonly Element[]): Uint8Array {
  const width = elements.length + 1;
  const moves = new Uint8Array(256 * width);
  for (const [index, element] of elements.entries()) {
    const marks =
      (elements[index - 1]?.kind === 'capture' ? CLOSES : 0) |
      (element.kind === 'capture' ? OPENS : 0);
    for (let byte = 0; byte < 256; byte += 1) {
      moves[byte * width + index + 1] = marks | moveOf(element, byte);
    }
  }
  return moves;
}

function moveOf(element: Element, byte: number): number {
  switch (element.kind) {
    case 'byte':
      return element.set[byte] === 1 ? ENTERS : 0;
    case 'capture':
      return byte === COLON ? 0 : ENTERS | STAYS;
    case 'star':
      return STAYS | FOLLOWS;
  }
}

function addMarks(way: Mark, move: number, at: number): Mark {
  const left = (move & CLOSES) === 0 ? way : { at, previous: way };
  return (move & OPENS) === 0 ? left : { at, previous: left };
}
