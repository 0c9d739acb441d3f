/** docs/reference/log-events.md, made from the log events in the sources. */
import { SERVER_EVENTS } from '../../../src/telemetry/finding-log.js';
import { reportText } from '../../../src/telemetry/process-reports.js';
import { readPage } from '../doc-pages.js';
import { LEVELS, type LogCall, readLogCalls, telemetrySources } from './log-event-reader.js';
import { LOG_FIELDS } from './log-fields.js';
import { code, page, table } from './page.js';

const TROUBLESHOOTING = 'docs/troubleshooting.md';

const SERVER_CHECK =
  'the finding and the remedy, as in `doctor`: [Server checks](../operations/redis.md#server-checks)';

/** Messages that other modules write, by event. */
const COMPUTED_MESSAGES: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.values(SERVER_EVENTS).map((name) => [name, SERVER_CHECK])),
  crashed: 'the unexpected error',
  cut_off: code(reportText({ kind: 'cut off', signal: 'SIGTERM' }).replace('SIGTERM', '…')),
  process_warning: 'the name and the text of the warning of Node.js or of a library',
  redis_password_unused: code(
    reportText({
      kind: 'warning',
      name: 'Warning',
      text: 'Redis does not require a password, but a password was supplied',
    }),
  ),
  signal_ignored: code(reportText({ kind: 'ignored', signal: 'SIGUSR1' }).replace('SIGUSR1', '…')),
};

interface LogMessage {
  readonly level: string;
  /** With `…` for inserted values. */
  readonly text: string;
}

export interface LogEvent {
  readonly name: string;
  /** Each once, from the lowest level. */
  readonly messages: readonly LogMessage[];
  readonly fields: readonly string[];
}

/** Every log event, by name. */
export function readLogEvents(): readonly LogEvent[] {
  const calls = [...telemetrySources()].flatMap(([file, source]) => readLogCalls(file, source));
  const names = [...new Set(calls.flatMap(({ events }) => events))].sort();
  return names.map((name) =>
    eventOf(
      name,
      calls.filter(({ events }) => events.includes(name)),
    ),
  );
}

function eventOf(name: string, calls: readonly LogCall[]): LogEvent {
  const messages = new Map<string, LogMessage>();
  for (const level of LEVELS) {
    for (const call of calls.filter(({ levels }) => levels.includes(level))) {
      for (const text of call.messages) messages.set(`${level} ${text}`, { level, text });
    }
  }
  const fields = [...new Set(calls.flatMap((call) => call.fields))];
  return { name, messages: [...messages.values()], fields };
}

export function logEventsPage(events: readonly LogEvent[]): string {
  const links = troubleshootingLinks(events);
  return page(
    'Log events',
    `Search this page for the \`event\` of a log line. An event with a link leads to a section of
[Troubleshooting](../troubleshooting.md). [Alerts](../operations/monitoring.md#alerts) lists the events that are worth
an alert.

Each line also has \`level\`, \`time\` and \`msg\` (the message). In a message, \`…\` stands for an inserted value. A field
is absent if it does not apply. \`log.level\` selects the lowest level that is logged, \`info\` by default.`,
    table(
      ['event', 'level', 'message', 'fields'],
      events.map((event) => [
        links.has(event.name)
          ? `[${code(event.name)}](${links.get(event.name)})`
          : code(event.name),
        LEVELS.filter((level) => event.messages.some((one) => one.level === level)).join(', '),
        messagesCell(event),
        event.fields.map(code).join(', '),
      ]),
    ),
    '## Fields',
    'Fields that end in `_ms` are in milliseconds, and sizes are in bytes.',
    table(
      ['field', 'meaning'],
      Object.entries(LOG_FIELDS).map(([name, meaning]) => [code(name), meaning]),
    ),
  );
}

/** The levels of each message. */
function levelsByMessage({ name, messages }: LogEvent): ReadonlyMap<string, readonly string[]> {
  const levels = new Map<string, readonly string[]>();
  for (const { level, text } of messages) {
    const shown = messageText(name, text);
    const before = levels.get(shown) ?? [];
    if (!before.includes(level)) levels.set(shown, [...before, level]);
  }
  return levels;
}

/** Each message, with its levels if another one has other levels. */
function messagesCell(event: LogEvent): string {
  const levels = [...levelsByMessage(event)];
  const isSame = new Set(levels.map(([, its]) => its.join())).size === 1;
  return levels.map(([text, its]) => (isSame ? text : `${its.join(', ')}: ${text}`)).join('<br>');
}

/** Whether another module writes the whole message. */
function isComputed(text: string): boolean {
  return !/\w/.test(text);
}

function messageText(event: string, text: string): string {
  if (!isComputed(text)) return code(text);
  const computed = COMPUTED_MESSAGES[event];
  if (computed === undefined) throw new Error(`COMPUTED_MESSAGES lacks the message of ${event}`);
  return computed;
}

/** The events whose messages are written here although the sources contain them. */
export function needlessMessages(events: readonly LogEvent[]): readonly string[] {
  return Object.keys(COMPUTED_MESSAGES).filter(
    (name) =>
      !events.some(
        (event) => event.name === name && event.messages.some((m) => isComputed(m.text)),
      ),
  );
}

/** The section of docs/troubleshooting.md that first names each event. */
function troubleshootingLinks(events: readonly LogEvent[]): ReadonlyMap<string, string> {
  const links = new Map<string, string>();
  for (const section of readPage(TROUBLESHOOTING).split('\n## ').slice(1)) {
    const [heading = ''] = section.split('\n');
    const anchor = heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-');
    for (const { name } of events) {
      const isNamed = new RegExp(`["\`]${name}["\`]`).test(section);
      if (isNamed && !links.has(name)) links.set(name, `../troubleshooting.md#${anchor}`);
    }
  }
  return links;
}
