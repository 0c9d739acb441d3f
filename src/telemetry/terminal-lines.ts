/**
 * A log line for people: time, level, event, message and fields on one line. On a terminal, parts that do not fit are
 * left out, the least important first. Pure.
 */
import { escapeUnprintable } from '../lib/printable.js';
import { type Paint, wrap } from '../lib/terminal.js';

/** Shown first, in this order; other fields follow in the order of the log line. */
const FIRST_FIELDS = ['endpoint', 'key', 'status', 'error', 'reason', 'count', 'route'];

/** With the message, never left out of a warning or an error. */
const NEEDED_FIELDS: readonly string[] = ['error', 'reason', 'checks'];

/** A value is shortened to no fewer characters. */
const VALUE_CHARS_MIN = 16;

/** Most lines are of this event. Its fields are more important than its message. */
const ATTEMPT = 'attempt';

const COLORS = {
  trace: 'dim',
  debug: 'dim',
  info: 'green',
  warn: 'yellow',
  error: 'red',
  fatal: 'red',
} as const;

type Level = keyof typeof COLORS;

const SERIOUS: readonly Level[] = ['warn', 'error', 'fatal'];

/** Aligns the events. */
const LEVEL_CHARS = 5;

/** The start and the end of the time of day in an ISO timestamp (UTC). */
const TIME_OF_DAY = [11, 23] as const;

const INDENT = ' '.repeat(TIME_OF_DAY[1] - TIME_OF_DAY[0] + 1);

interface Part {
  /** Null for the message. */
  readonly name: string | null;
  readonly value: string;
  readonly isNeeded: boolean;
}

const lengthOf = ({ name, value }: Part) => (name === null ? 0 : name.length + 1) + value.length;

function valueText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const safe = escapeUnprintable(text, Number.POSITIVE_INFINITY);
  return typeof value === 'string' && (safe === '' || /[\s"=]/.test(safe)) ? `"${safe}"` : safe;
}

/** The parts of a line about an event, the most important first. */
function partsOf(
  fields: Readonly<Record<string, unknown>>,
  about: string,
  msg: string,
): readonly Part[] {
  const names = Object.keys(fields).filter((name) => fields[name] !== null);
  const part = (name: string): Part => ({
    name,
    value: valueText(fields[name]),
    isNeeded: NEEDED_FIELDS.includes(name),
  });
  const first = FIRST_FIELDS.filter((name) => names.includes(name)).map(part);
  const others = names.filter((name) => !FIRST_FIELDS.includes(name)).map(part);
  // The message of `stopped` is the event itself.
  const text = msg === about ? '' : escapeUnprintable(msg, Number.POSITIVE_INFINITY);
  const message = { name: null, value: text, isNeeded: true };
  return about === ATTEMPT ? [...first, message, ...others] : [message, ...first, ...others];
}

/** An important part in at most `room` characters; null if it would be too short. */
function shortened(part: Part, room: number): Part | null {
  const chars = room - (lengthOf(part) - part.value.length);
  const isImportant = part.name === null || FIRST_FIELDS.includes(part.name);
  if (!isImportant || chars < VALUE_CHARS_MIN) return null;
  return { ...part, value: `${part.value.slice(0, chars - 1)}…` };
}

/**
 * `json`: a log line. `width`: null for an output that is no terminal: nothing is left out. What does not fit is
 * shortened or left out; the needed fields, and the message of a warning or an error, follow on lines of their own.
 */
export function terminalLine(json: string, width: number | null, paint: Paint): string {
  const { time, level, event, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const name = level as Level;
  const head = [
    String(time).slice(...TIME_OF_DAY),
    name.toUpperCase().padEnd(LEVEL_CHARS),
    String(event ?? ''),
  ];
  let room = (width ?? Number.POSITIVE_INFINITY) - head.join(' ').length;
  const kept: Part[] = [];
  const below: Part[] = [];
  for (const part of partsOf(fields, String(event ?? ''), String(msg ?? ''))) {
    if (part.value === '') continue;
    const isBelow = part.isNeeded && (part.name !== null || SERIOUS.includes(name));
    const fits = lengthOf(part) + 2 <= room;
    const shown = fits ? part : isBelow ? null : shortened(part, room - 2);
    if (shown !== null) {
      kept.push(shown);
      room -= lengthOf(shown) + 2;
    } else if (isBelow) below.push(part);
  }
  const show = ({ name: key, value }: Part) =>
    key === null ? value : `${paint('dim', `${key}=`)}${value}`;
  /** The message first. */
  const inOrder = (parts: readonly Part[]) => [
    ...parts.filter((part) => part.name === null),
    ...parts.filter((part) => part.name !== null),
  ];
  const [clock = '', label = '', about = ''] = head;
  const line = [
    `${paint('dim', clock)} ${paint(COLORS[name], label)} ${paint('bold', about)}`,
    ...inOrder(kept).map(show),
  ].join('  ');
  const needed = inOrder(below).map(
    (part) => (part.name === null ? '' : `${part.name}=`) + part.value,
  );
  const rest = below.length === 0 ? [] : wrap(needed.join('  '), (width ?? 0) - INDENT.length);
  return `${[line, ...rest.map((text) => INDENT + text)].join('\n')}\n`;
}
