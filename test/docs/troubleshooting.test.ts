/** The log lines and messages on docs/troubleshooting.md, and the names on all pages, compared with the code. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blocksOf, PAGES, ROOT, readPage } from '../support/doc-pages.js';

const PAGE = 'docs/troubleshooting.md';

/** The sources, with string literals that are concatenated joined into one. */
const SOURCES = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => readFileSync(join(ROOT, 'src', path), 'utf8'))
  .join('\n')
  .replaceAll(/(['"`]) \+\s*['"`]/g, '')
  .replaceAll(/\$\{[^}]*\}/g, '…');

/** The parts of a text between omissions that are not in the sources. */
const unknownParts = (text: string) =>
  text
    .split('…')
    .map((part) => part.trim())
    .filter((part) => part !== '' && !SOURCES.includes(part));

const LINES = blocksOf(PAGE)
  .flatMap(({ text }) => text.split('\n'))
  .flatMap((line) => {
    const [, event = '', msg = ''] =
      /^\{"level":"\w+".*"event":"(\w+)".*"msg":"(.*)"\}$/.exec(line) ?? [];
    return event === '' ? [] : [{ event, msg }];
  });

/** Names in code spans that are not the relay's. */
const OTHERS = ['node_modules', 'stop_grace_period'];

it('the page on troubleshooting shows lines in the format of the log', () => {
  const lines = blocksOf(PAGE).flatMap(({ text }) => text.split('\n'));
  expect(LINES.length).toBeGreaterThan(25);
  expect(lines.filter((line) => line.startsWith('{')).length).toBe(LINES.length);
});

it.each(LINES)('$event is a log event, with its message', ({ event, msg }) => {
  const isEvent = new RegExp(`['\`]${event}['\`]`).test(SOURCES);
  expect({ event, isEvent }).toEqual({ event, isEvent: true });
  expect(unknownParts(msg)).toEqual([]);
});

it('its messages of Redis connections exist', () => {
  const [, section = ''] = readPage(PAGE).split('\n## Redis connection errors\n');
  const cells = [...section.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = '']) => cell);
  const messages = cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, m = '']) => m));
  expect(messages.length).toBeGreaterThan(12);
  // The code inserts the names of settings.
  const texts = messages.map((message) => message.replaceAll(/\bredis\.[\w.]+/g, '…'));
  const unknown = texts.filter((text) => unknownParts(text).length > 0);
  expect(unknown).toEqual([]);
});

it.each(PAGES.filter((page) => page !== 'docs/receivers.md'))(
  'the log events, metrics, keys and fields that %s names exist',
  (page) => {
    const spans = [...readPage(page).matchAll(/`([^`\n]+)`/g)].map(([, span = '']) => span);
    const names = spans.flatMap((span) =>
      [...span.matchAll(/\b[a-z]+(?:_[a-z]+)+\b/g)].map(([name]) => name),
    );
    const unknown = names
      .map((name) => name.replace(/^expiry_relay_/, ''))
      .filter((name) => !OTHERS.includes(name) && !SOURCES.includes(name));
    expect([...new Set(unknown)]).toEqual([]);
  },
);
