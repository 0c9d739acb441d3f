/** docs/reference/log-events.md is made from the calls of the logger. `npm run reference` writes it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from '../support/doc-pages.js';
import { readLogCalls, telemetrySources } from '../support/reference/log-event-reader.js';
import { logEventsPage, needlessMessages, readLogEvents } from '../support/reference/log-events.js';
import { LOG_FIELDS } from '../support/reference/log-fields.js';

const EVENTS = readLogEvents();

const callsOf = (source: string) => readLogCalls('some-events.ts', source);

it('docs/reference/log-events.md is up to date', async () => {
  const path = join(ROOT, 'docs/reference/log-events.md');
  await expect(logEventsPage(EVENTS)).toMatchFileSnapshot(path);
});

it('reads every event in src/telemetry', () => {
  const sources = [...telemetrySources()];
  const written = sources.flatMap(([file, source]) =>
    source
      .split('\n')
      .flatMap((line, at) => [...line.matchAll(/\bevent: /g)].map(() => `${file}:${at + 1}`)),
  );
  const read = sources.flatMap(([file, source]) =>
    readLogCalls(file, source).map(({ position }) => position),
  );
  expect(written.length).toBeGreaterThan(80);
  expect([...new Set(read)].sort()).toEqual([...written].sort());
});

it('covers every log line, as only src/telemetry logs', () => {
  const others = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('telemetry'))
    .filter((path) => readFileSync(join(ROOT, 'src', path), 'utf8').includes("from 'pino'"));
  expect(others).toEqual([]);
});

it('explains each field, and none that does not exist', () => {
  const fields = [...new Set(EVENTS.flatMap((event) => event.fields))].sort();
  expect(Object.keys(LOG_FIELDS)).toEqual(fields);
});

it('takes each message from the sources if they contain it', () => {
  expect(needlessMessages(EVENTS)).toEqual([]);
});

it('reads constants, chosen texts, spread fields and inserted values', () => {
  const source = `
    const NAMES = { one: 'first', two: 'second' };
    function fieldsOf(isLong) { return isLong ? { length: 1 } : {}; }
    function report(count, text) {
      const advice = 'Check the ' + (count > 1 ? 'files' : 'file');
      const line = { event: NAMES[count], count, ...fieldsOf(true) };
      const level = count > 1 ? 'warn' : 'info';
      log[level](line, \`\${text}\${count} lost. \${advice}\`);
    }`;
  expect(callsOf(source)).toEqual([
    {
      events: ['first', 'second'],
      levels: ['warn', 'info'],
      messages: ['… lost. Check the files', '… lost. Check the file'],
      fields: ['count', 'length'],
      position: 'some-events.ts:6',
    },
  ]);
});

it.each([
  ['an event that is built', "log.info({ event: `${kind}_lost` }, 'lost');"],
  ['a line without an event', "log.info({ count: 1 }, 'lost');"],
  ['fields that come from elsewhere', "log.info(fields, 'lost');"],
])('rejects %s', (_, source) => {
  expect(() => callsOf(source)).toThrow(/some-events\.ts:1: cannot read/);
});
