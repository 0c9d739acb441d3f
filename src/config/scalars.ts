/** zod types for configuration values. An issue's message carries the error as a `Wording`. */
import { z } from 'zod';
import {
  DURATION_EXPECTED,
  DURATION_PATTERN,
  formatDuration,
  formatSize,
  fractionExpected,
  missingUnit,
  RATE_EXPECTED,
  RATE_PATTERN,
  type Range,
  rangeText,
  readDuration,
  readFraction,
  readRate,
  readSize,
  readWhole,
  SIZE_EXPECTED,
  SIZE_PATTERN,
  wholeExpected,
} from './quantities.js';
import { FILE_PATH_PATTERN } from './strings.js';
import { didYouMean } from './suggest.js';
import { accept, kindOf, mismatch, type Reading, reject, toIssueText } from './wording.js';

/** Keywords for the documentation. No program that reads the printed schema sees them. */
export interface Annotations {
  /** More exact than the type of JSON. */
  readonly 'x-type'?: string;
  /** The smallest and the largest value, with units. */
  readonly 'x-range'?: string;
  /** A phrase for the values of a string. */
  readonly 'x-values'?: string;
  /** The path of a file, whose content is read again while the relay runs. */
  readonly 'x-reload'?: true;
}

function transformWith<Input, Output>(read: (input: Input) => Reading<Output>) {
  return (input: Input, context: z.RefinementCtx): Output => {
    const reading = read(input);
    if (reading.ok) return reading.value;
    context.addIssue({ code: 'custom', message: toIssueText(reading.wording) });
    return z.NEVER;
  };
}

/** A string that `read` parses. */
export function text<Output>(
  expected: string,
  read: (text: string) => Reading<Output>,
  annotations: Annotations = {},
) {
  // YAML reads an unquoted 42 or true as another type.
  const lacksQuotes = (input: unknown) =>
    ['number', 'boolean'].includes(typeof input) && read(String(input)).ok;
  return z
    .string({
      error: ({ input }) =>
        toIssueText(mismatch(expected, { hint: lacksQuotes(input) ? 'put it in quotes' : null })),
    })
    .meta({ 'x-values': expected, ...annotations })
    .transform(transformWith(read));
}

/** A string that matches `pattern`, unchanged. */
export function textLike(expected: string, pattern: RegExp, annotations?: Annotations) {
  const read = (found: string) => (pattern.test(found) ? accept(found) : reject(expected));
  return text(expected, read, annotations);
}

/** The path of a file whose content is read again while the relay runs. */
export const filePath = textLike('the path of a file', FILE_PATH_PATTERN, { 'x-reload': true });

/** How a number with a unit is written. */
interface Notation {
  readonly type: string;
  readonly expected: string;
  /** Asked if the unit is missing. */
  readonly question: string;
  readonly pattern: RegExp;
}

const DURATION: Notation = {
  type: 'duration',
  expected: DURATION_EXPECTED,
  question: 'which unit?',
  pattern: DURATION_PATTERN,
};
const SIZE: Notation = {
  type: 'size',
  expected: SIZE_EXPECTED,
  question: 'which unit?',
  pattern: SIZE_PATTERN,
};
const RATE: Notation = {
  type: 'rate',
  expected: RATE_EXPECTED,
  question: 'per s, m or h?',
  pattern: RATE_PATTERN,
};

function quantity<Output>(
  { type, expected, question, pattern }: Notation,
  range: string,
  read: (text: string) => Reading<Output>,
) {
  return z
    .string({
      error: ({ input }) => toIssueText(mismatch(expected, { hint: missingUnit(input, question) })),
    })
    .meta({ pattern: pattern.source, 'x-type': type, 'x-range': range })
    .transform(transformWith(read));
}

/** Milliseconds. */
export function duration(range: Range) {
  const read = (found: string) => readDuration(found, range);
  return quantity(DURATION, rangeText(range, formatDuration), read);
}

/** Bytes. */
export function size(range: Range) {
  return quantity(SIZE, rangeText(range, formatSize), (found) => readSize(found, range));
}

export function rate(range: Range) {
  return quantity(RATE, rangeText(range, String), (found) => readRate(found, range));
}

export function whole(range: Range) {
  const { min: minimum, max: maximum } = range;
  return z
    .union([z.number().meta({ type: 'integer', minimum, maximum }), z.string()], {
      error: () => toIssueText(mismatch(wholeExpected(range))),
    })
    .transform(transformWith((found) => readWhole(found, range)));
}

export function fraction(range: Range) {
  const { min: minimum, max: maximum } = range;
  return z
    .union([z.number().meta({ minimum, maximum }), z.string()], {
      error: () => toIssueText(mismatch(fractionExpected(range))),
    })
    .transform(transformWith((found) => readFraction(found, range)));
}

/** A boolean, also as a string: a `${VAR}` always yields a string. */
export function flag() {
  return z
    .union([z.boolean(), z.enum(['true', 'false'])], {
      error: () => toIssueText(mismatch('true or false')),
    })
    .transform((found) => found === true || found === 'true');
}

/** One of a closed set of words. */
export function choice<const Words extends readonly [string, ...string[]]>(
  words: Words,
  /** Suggests a word for a string that is not similar in spelling. */
  meant: (found: string) => Words[number] | null = () => null,
) {
  const suggest = (found: string) => didYouMean(meant(found) ?? found, words);
  return z.enum(words, {
    error: ({ input }) =>
      toIssueText(
        mismatch(`one of ${words.join(', ')}`, {
          quoting: typeof input === 'string' ? suggest(input) : null,
        }),
      ),
  });
}

/** A mapping with the keys of `shape` alone; unknown keys are reported with the whole schema at hand. */
export function mapping<Shape extends z.core.$ZodShape>(shape: Shape, expected = 'a mapping') {
  return z.strictObject(shape, {
    error: ({ code, input }) =>
      code === 'unrecognized_keys'
        ? undefined
        : toIssueText(mismatch(expected, { found: kindOf(input) })),
  });
}

/** A mapping from names that the operator chooses to values. */
export function recordOf<Name extends z.core.$ZodRecordKey, Value extends z.core.SomeType>(
  expected: string,
  name: Name,
  value: Value,
) {
  return z.record(name, value, {
    error: ({ input }) => toIssueText(mismatch(expected, { found: kindOf(input) })),
  });
}

export function list<Item extends z.core.SomeType>(
  item: Item,
  { min, max }: Range,
  expected = `a list of ${min} to ${max}`,
) {
  const error = ({ input }: { readonly input?: unknown }) => {
    const isFilled = Array.isArray(input) && input.length > 0;
    const hint = ['string', 'number'].includes(typeof input) ? 'put it in [ ]' : null;
    const found = isFilled ? `one of ${input.length}` : kindOf(input);
    return toIssueText(mismatch(expected, { found, hint }));
  };
  return z.array(item, { error }).min(min, { error }).max(max, { error });
}

/** A list whose only item may stand without a list; parsed as a list. */
export function oneOrMany<Item extends z.core.SomeType>(expected: string, item: Item, max: number) {
  return z
    .union([item, list(item, { min: 1, max })], {
      error: () => toIssueText(mismatch(`${expected}, or a list of them`)),
    })
    .transform((found) => (Array.isArray(found) ? found : [found]) as z.output<Item>[]);
}
