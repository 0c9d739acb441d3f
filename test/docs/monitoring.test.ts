/** The metrics and log events that docs/operations/monitoring.md names, compared with the code. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { SERVER_EVENTS } from '../../src/telemetry/finding-log.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { ROOT, readPage } from '../support/doc-pages.js';
import { anEndpoint, aRoute } from '../support/domain.js';

const PAGE = readPage('docs/operations/monitoring.md');

/** What the first cells of the tables under a heading have between backticks. */
function namesUnder(heading: string): readonly string[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const rows = (section.split('\n## ')[0] ?? '').matchAll(/^\| ([^|]*`[^|]*) \|/gm);
  return [...rows].flatMap(([, cell = '']) => [...cell.matchAll(/`(\w[^`]*)`/g)].map(textOf));
}

const textOf = ([, text = '']: RegExpExecArray) => text;

/** As the page writes them: `attempts_total{endpoint,outcome}`. Every one has a series. */
async function metricsOfCode(): Promise<readonly string[]> {
  const endpoint = anEndpoint();
  const route = aRoute({ patterns: [compilePattern('*')], includesValue: true });
  const metrics = new Metrics({ endpoints: new Map([[endpoint.name, endpoint]]), routes: [route] });
  metrics.unknownEndpointPending.set({ endpoint: 'gone' }, 1);
  metrics.watchOutbox(async () => ({
    pending: 1,
    oldestDueForMs: 1,
    deadLetters: 1,
    throttledForMs: 1,
  }));
  metrics.watchProcess('1.2.3');
  metrics.watchCapture(
    () => 1,
    async () => 1,
  );
  const series = (await metrics.text(systemClock.turn)).matchAll(
    /^# TYPE expiry_relay_(\w+) \w+\nexpiry_relay_\w+(?:\{(.*)\})? /gm,
  );
  return [...series].map(([, name = '', labels = '']) => {
    const names = [...labels.matchAll(/(\w+)="/g)].map(textOf).filter((label) => label !== 'le');
    return names.length === 0 ? name : `${name}{${names.join(',')}}`;
  });
}

it('it has every metric with its labels, and none that there is not', async () => {
  const metrics = await metricsOfCode();
  expect(metrics.length).toBeGreaterThan(30);
  expect([...namesUnder('Metrics')].sort()).toEqual([...metrics].sort());
});

it('its alerts are metrics and log events that there are', async () => {
  const sources = readdirSync(join(ROOT, 'src/telemetry'))
    .map((file) => readFileSync(join(ROOT, 'src/telemetry', file), 'utf8'))
    .join('');
  const known = new Set([
    ...(await metricsOfCode()).map((metric) => metric.replace(/\{.*/, '')),
    ...[...sources.matchAll(/event: '(\w+)'/g)].map(textOf),
    ...Object.values(SERVER_EVENTS),
  ]);
  const alerts = namesUnder('Alerts').filter((name) => name !== 'absent(…)');
  expect(alerts.length).toBeGreaterThan(15);
  expect(alerts.filter((name) => !known.has(name))).toEqual([]);
});

it('it names the log event of every property of a server', () => {
  const named = namesUnder('Alerts');
  expect(Object.values(SERVER_EVENTS).filter((name) => !named.includes(name))).toEqual([]);
});
