/** The metrics and log events that docs/operations/monitoring.md names, compared with the code. */
import { expect, it } from 'vitest';
import { SERVER_EVENTS } from '../../src/telemetry/finding-log.js';
import { readPage } from '../support/doc-pages.js';
import { readLogEvents } from '../support/reference/log-events.js';
import { readMetrics } from '../support/reference/metrics.js';

const PAGE = readPage('docs/operations/monitoring.md');

/** What the first cells of the tables under a heading have between backticks. */
function namesUnder(heading: string): readonly string[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '').matchAll(/^\| ([^|]*`[^|]*) \|/gm);
  return [...rows].flatMap(([, cell = '']) => [...cell.matchAll(/`(\w[^`]*)`/g)].map(textOf));
}

const textOf = ([, text = '']: RegExpExecArray) => text;

it('its alerts are metrics and log events that there are', async () => {
  const known = new Set([
    ...(await readMetrics()).map(({ name }) => name.replace('expiry_relay_', '')),
    ...readLogEvents().map(({ name }) => name),
  ]);
  const alerts = namesUnder('Alerts').filter((name) => name !== 'absent(…)');
  expect(alerts.length).toBeGreaterThan(15);
  expect(alerts.filter((name) => !known.has(name))).toEqual([]);
});

it('it names the log event of every property of a server', () => {
  const named = namesUnder('Alerts');
  expect(Object.values(SERVER_EVENTS).filter((name) => !named.includes(name))).toEqual([]);
});
