/**
 * A log line for people: time, level, event, message and fields on one line. On a terminal, parts that do not fit are
 * left out, the least important first. Pure.
 */
import { escapeUnprintable } from '../lib/printable.js';
import { type Paint, wrap } from '../lib/terminal.js';

/** Shown first, in this order; other fields follow in the order of the log line. */
const FIRST_FIELDS = ['endpoint', 'key', 'status', 'error', 'reason', 'count', 'route'];

/** With the message, never left out of a warning or an error. */
const NEEDED_FIELDS: readonly string[] = ['error', 'reason'];

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

/** The parts of a line, the most important first. */
function partsOf(fields: Readonly<Record<string, unknown>>, msg: string): readonly Part[] {
  const names = Object.keys(fields).filter((name) => fields[name] !== null);
  const part = (name: string): Part => ({
    name,
    value: valueText(fields[name]),
    isNeeded: NEEDED_FIELDS.includes(name),
  });
  const first = FIRST_FIELDS.filter((name) => names.includes(name));
  const others = names.filter((name) => !FIRST_FIELDS.includes(name));
  const message = escapeUnprintable(msg, Number.POSITIVE_INFINITY);
  return [...first.map(part), { name: null, value: message, isNeeded: true }, ...others.map(part)];
}

/**
 * `json`: a log line. `width`: null for an output that is no terminal: nothing is left out. What a warning or an error
 * needs and does not fit follows on lines of its own.
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
  for (const part of partsOf(fields, String(msg ?? ''))) {
    if (part.value === '') continue;
    if (lengthOf(part) + 2 <= room) {
      kept.push(part);
      room -= lengthOf(part) + 2;
    } else if (part.isNeeded && SERIOUS.includes(name)) below.push(part);
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
  const rest = below.length === 0 ? [] : wrap(needed.join(' '), (width ?? 0) - INDENT.length);
  return `${[line, ...rest.map((text) => INDENT + text)].join('\n')}\n`;
}
