/** Formats numbers for people. Pure. */

/** The largest unit with a value of at least two is used; smaller values get one decimal. */
const UNITS = [
  ['days', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const;

const SIZES = [
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
] as const;

/** A shorter duration in seconds gets a decimal. */
const ROUND_FROM_MS = 10_000;

/** `42 min`, `50 s`, `0.1 s`, `3 ms`. */
export function lengthText(ms: number): string {
  if (ms < 100) return `${ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms)} ms`;
  if (ms < ROUND_FROM_MS) return `${Number((ms / 1_000).toFixed(1))} s`;
  const [name, unitMs] = UNITS.find(([, size]) => ms >= 2 * size) ?? (['s', 1_000] as const);
  return `${Math.round(ms / unitMs)} ${name}`;
}

/** `10,000`. */
export function countText(count: number): string {
  return count.toLocaleString('en-US');
}

/** `1 key`, `10,000 keys`. */
export function keysText(count: number): string {
  return `${countText(count)} ${count === 1 ? 'key' : 'keys'}`;
}

/** `100 MiB`. */
export function sizeText(bytes: number): string {
  const [name, size] = SIZES.find(([, unit]) => bytes >= unit) ?? (['B', 1] as const);
  return `${Number((bytes / size).toFixed(1))} ${name}`;
}
