/** Parses and formats durations, sizes, rates and numbers of the configuration. Pure. */
import type { RateLimit } from '../model/endpoint.js';
import { accept, type Reading, reject } from './wording.js';

const UNIT_MS = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
} as const;
const UNIT_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2 } as const;
const PER_MS = { s: 1_000, m: 60_000, h: 3_600_000 } as const;

// A number holds at most fifteen digits exactly.
/** Each unit at most once, the largest first. */
export const DURATION_PATTERN =
  /^(?=\d)(?:\d{1,15}w)?(?:\d{1,15}d)?(?:\d{1,15}h)?(?:\d{1,15}m(?!s))?(?:\d{1,15}s)?(?:\d{1,15}ms)?$/;
const DURATION_PART = /(\d+)(ms|[wdhms])/g;
export const SIZE_PATTERN = /^(\d{1,15})(B|KiB|MiB)$/;
export const RATE_PATTERN = /^(\d{1,15})\/(s|m|h)$/;
const WHOLE_PATTERN = /^\d{1,15}$/;
const FRACTION_PATTERN = /^\d{1,15}(\.\d{1,15})?$/;

export interface Range {
  readonly min: number;
  readonly max: number;
}

/** `90000` → `90s`: the largest unit that gives a whole number. */
export function formatDuration(ms: number): string {
  const units = Object.entries(UNIT_MS).reverse();
  const [name, size] = units.find(([, unitMs]) => ms >= unitMs && ms % unitMs === 0) ?? ['ms', 1];
  return `${ms / size}${name}`;
}

/** `262144` → `256KiB`. */
export function formatSize(bytes: number): string {
  const units = Object.entries(UNIT_BYTES).reverse();
  const [name, size] = units.find(([, unit]) => bytes >= unit && bytes % unit === 0) ?? ['B', 1];
  return `${bytes / size}${name}`;
}

/** `1ms to 10m`. */
export function rangeText({ min, max }: Range, format: (value: number) => string): string {
  return `${format(min)} to ${format(max)}`;
}

export const DURATION_EXPECTED = 'a duration such as 250ms, 15s, 1h30m or 1w';
export const SIZE_EXPECTED = 'a size such as 512B, 16KiB or 1MiB';
export const RATE_EXPECTED = 'a rate such as 100/s, 600/m or 1000/h';

/** A hint for a value without a unit. */
export function missingUnit(value: unknown, question: string): string | null {
  const onlyDigits = typeof value === 'number' || /^\d+$/.test(String(value));
  return onlyDigits ? question : null;
}

/** Returns milliseconds. */
export function readDuration(text: string, range: Range): Reading<number> {
  if (!DURATION_PATTERN.test(text)) {
    return reject(DURATION_EXPECTED, { hint: missingUnit(text, 'which unit?') });
  }
  const ms = Array.from(text.matchAll(DURATION_PART)).reduce(
    (total, [, digits, unit]) => total + Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS],
    0,
  );
  if (ms >= range.min && ms <= range.max) return accept(ms);
  return reject(`a duration from ${rangeText(range, formatDuration)}`);
}

/** Returns bytes. */
export function readSize(text: string, range: Range): Reading<number> {
  const [, digits, unit] = SIZE_PATTERN.exec(text) ?? [];
  if (digits === undefined) {
    return reject(SIZE_EXPECTED, { hint: missingUnit(text, 'which unit?') });
  }
  const bytes = Number(digits) * UNIT_BYTES[unit as keyof typeof UNIT_BYTES];
  if (bytes >= range.min && bytes <= range.max) return accept(bytes);
  return reject(`a size from ${rangeText(range, formatSize)}`);
}

export function readRate(text: string, range: Range): Reading<RateLimit> {
  const [, digits, unit] = RATE_PATTERN.exec(text) ?? [];
  if (digits === undefined) {
    return reject(RATE_EXPECTED, { hint: missingUnit(text, 'per s, m or h?') });
  }
  const count = Number(digits);
  if (count < range.min || count > range.max) {
    return reject(`a rate from ${range.min}/${unit} to ${range.max}/${unit}`);
  }
  return accept({ count, perMs: PER_MS[unit as keyof typeof PER_MS] });
}

export function wholeExpected({ min, max }: Range): string {
  return `a whole number from ${min} to ${max}`;
}

/** Accepts digits in a string: a `${VAR}` always yields a string. */
export function readWhole(value: number | string, range: Range): Reading<number> {
  const isDigits = typeof value === 'number' || WHOLE_PATTERN.test(value);
  const whole = isDigits ? Number(value) : Number.NaN;
  if (Number.isInteger(whole) && whole >= range.min && whole <= range.max) {
    return accept(whole);
  }
  return reject(wholeExpected(range));
}

export function fractionExpected({ min, max }: Range): string {
  return `a number from ${min} to ${max}`;
}

export function readFraction(value: number | string, range: Range): Reading<number> {
  const isDigits = typeof value === 'number' || FRACTION_PATTERN.test(value);
  const fraction = isDigits ? Number(value) : Number.NaN;
  if (fraction >= range.min && fraction <= range.max) return accept(fraction);
  return reject(fractionExpected(range));
}
