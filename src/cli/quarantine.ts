/** Lists, shows and deletes quarantined entries: data in the state that no relay has written. */
import { pluralize } from '../lib/pluralize.js';
import { printable, printableBytes, printableJson } from '../lib/printable.js';
import { UsageError } from '../model/errors.js';
import type { QuarantinedEntry } from '../state/quarantine.js';
import type { RedisState } from '../state/redis-state.js';
import type { CliContext, CommandAction, ExitCode, FileOption } from './context.js';
import { withState } from './open-dead-letters.js';
import { Printer } from './printer.js';

export interface ListQuarantineOptions extends FileOption {
  /** 0: no limit. */
  readonly limit: number;
  readonly json?: boolean;
}

export interface ShowQuarantineOptions extends FileOption {
  readonly id: string;
  readonly json?: boolean;
  /** Print only the stored bytes of the value. */
  readonly value?: boolean;
}

export interface DropQuarantineOptions extends FileOption {
  readonly ids: readonly string[];
  readonly all?: boolean;
  readonly json?: boolean;
}

/** The format of Redis stream ids. */
const ID = /^\d{1,20}-\d{1,20}$/;

/** The position before all records. */
const FIRST = '0-0';

/** Limit for a name in a list. */
const NAME_CHARS_MAX = 64;

/** Lists entries, the newest last. */
export const listQuarantine: CommandAction<ListQuarantineOptions> = (context, options) =>
  withState(context, options, async (state): Promise<ExitCode> => {
    const { entries, last } = await ask(state, () => state.quarantine.depth());
    const limit = options.limit === 0 ? entries : options.limit;
    const printer = new Printer(context);
    let skipped = Math.max(0, entries - limit);
    let shown = 0;
    for await (const page of pages(state)) {
      const rows = page.slice(skipped);
      skipped -= page.length - rows.length;
      shown += rows.length;
      if (!(await printer.print(rows.map(options.json ? jsonLine : line).join('')))) return 0;
    }
    if (options.json) return 0;
    const total = last === null ? 0 : Math.max(last.number, entries);
    const others = shown < total ? `; ${total - shown} older or dropped not shown` : '';
    const closing =
      entries === 0 ? 'no quarantined entries' : `${pluralize(shown, 'entry', 'entries')}${others}`;
    await printer.print(`${closing}\n`);
    return 0;
  });

/** Prints all fields of one entry. */
export const showQuarantine: CommandAction<ShowQuarantineOptions> = (context, options) => {
  const { id, json, value } = options;
  if (json && value) throw new UsageError('expected --json or --value, found both');
  return withState(context, options, async (state): Promise<ExitCode> => {
    const entry = await find(state, id);
    if (entry === null) return reportMissing(context, id);
    await new Printer(context).print(value ? entry.value : json ? jsonLine(entry) : details(entry));
    return 0;
  });
};

/** Deletes records permanently, with the keys that were renamed for them. */
export const dropQuarantine: CommandAction<DropQuarantineOptions> = (context, options) => {
  const { ids, all, json } = options;
  if (ids.length === 0 && !all) {
    throw new UsageError('specify ids or --all; nothing was dropped');
  }
  return withState(context, options, async (state) => {
    let dropped = 0;
    const missing: string[] = [];
    if (all) {
      for await (const page of pages(state)) {
        if (context.stop.aborted) break;
        for (const entry of page) if (await drop(state, entry)) dropped += 1;
      }
    }
    for (const id of all ? [] : ids) {
      const entry = await find(state, id);
      if (entry === null || !(await drop(state, entry))) missing.push(id);
      else dropped += 1;
    }
    if (json) context.stdout.write(`${printableJson({ dropped, missing })}\n`);
    else context.stdout.write(`${pluralize(dropped, 'entry', 'entries')} dropped\n`);
    for (const id of missing) reportMissing(context, id);
    return missing.length === 0 ? 0 : 1;
  });
};

async function* pages(state: RedisState): AsyncGenerator<readonly QuarantinedEntry[]> {
  for (let after = FIRST; ; ) {
    const page = await ask(state, () => state.quarantine.after(after));
    const last = page.at(-1);
    if (last === undefined) return;
    yield page;
    after = last.id;
  }
}

async function find(state: RedisState, id: string): Promise<QuarantinedEntry | null> {
  return ID.test(id) ? ask(state, () => state.quarantine.find(id)) : null;
}

function drop(state: RedisState, entry: QuarantinedEntry): Promise<boolean> {
  return ask(state, () => state.quarantine.drop(entry));
}

function ask<Reply>(state: RedisState, question: () => Promise<Reply>): Promise<Reply> {
  return state.run('dead_letters', question);
}

function reportMissing({ stderr }: CliContext, id: string): 1 {
  stderr.write(`expiry-relay: no such quarantined entry: ${printable(id)}\n`);
  return 1;
}

function line({ id, atMs, key, kind, name, reason }: QuarantinedEntry): string {
  const words = [printable(key), printable(kind), printableBytes(name, NAME_CHARS_MAX)];
  return `${[id, timeOf(atMs), ...words, printable(reason)].join('  ')}\n`;
}

/** Programs depend on these names. */
function jsonLine(entry: QuarantinedEntry): string {
  const { id, atMs, key, kind, reason, name, bytes, value } = entry;
  return `${printableJson({
    id,
    at: timeOf(atMs),
    key,
    kind,
    reason,
    name_base64: name.toString('base64'),
    bytes,
    value_base64: value.toString('base64'),
  })}\n`;
}

function details(entry: QuarantinedEntry): string {
  const { id, atMs, key, kind, reason, name, bytes, value } = entry;
  const kept = value.length < bytes ? ` (the first ${value.length} are kept)` : '';
  const isKey = kind === 'key';
  const whole = 'the whole key, under its new name (see TYPE in redis-cli)';
  const lines = Object.entries({
    id,
    at: timeOf(atMs),
    key: printable(key),
    kind: printable(kind),
    [isKey ? 'renamed to' : 'name']: printableBytes(name),
    reason: printable(reason),
    value: isKey ? whole : `${pluralize(bytes, 'byte')}${kept}`,
  }).map(([title, text]) => `${title.padEnd(10)} ${text}\n`);
  const start = isKey ? '' : `${printableBytes(value, Number.POSITIVE_INFINITY)}\n`;
  return `${lines.join('')}${start}`;
}

/** A record that another program wrote may have an id that is not a valid time. */
function timeOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? 'unknown' : date.toISOString();
}
