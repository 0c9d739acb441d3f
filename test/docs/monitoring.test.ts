/** The metrics and log events that docs/operations/monitoring.md names, compared with the code. */
import { expect, it } from 'vitest';
import { SERVER_EVENTS } from '../../src/telemetry/finding-log.js';
import { readPage } from '../support/doc-pages.js';
import { readLogEvents } from '../support/reference/log-events.js';
import { readMetrics } from '../support/reference/metrics.js';

const [, AFTER = ''] = readPage('docs/operations/monitoring.md').split('\n## Alerts\n');
const [ALERTS = ''] = AFTER.split('\n## ');

/** The cells of the section's table rows with this number of columns, without the header and the line below it. */
function rowsOf(columns: number): readonly (readonly string[])[] {
  const cells = [...ALERTS.matchAll(/^\| (.*) \|$/gm)].map(([, row = '']) => row.split(' | '));
  return cells.filter(
    (row) => row.length === columns && !['alert', 'event'].includes(row[0] ?? ''),
  );
}

/** An alert of Prometheus: its expression, `for` and severity. */
const RULES = rowsOf(4).map(([, expression = '', duration = '', severity = '']) => ({
  expression: expression.replaceAll('`', ''),
  duration,
  severity,
}));

const LOG_EVENTS = rowsOf(2).flatMap(([cell = '']) =>
  [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
);

const PROMQL = ['sum', 'max', 'by', 'increase', 'delta', 'absent', 'and', 'or'];

/** The names in an expression, other than PromQL's own and the labels after `by`. */
const metricsIn = (expression: string) =>
  [...expression.replaceAll(/\[\w+\]|by \([^)]*\)/g, '').matchAll(/[a-z]\w*/g)]
    .map(([name]) => name)
    .filter((name) => !PROMQL.includes(name));

const labelsIn = (expression: string) =>
  [...expression.matchAll(/by \(([^)]*)\)/g)].flatMap(([, labels = '']) => labels.split(', '));

it('its alerts are complete: an expression, a duration and a severity', () => {
  expect(RULES.length).toBeGreaterThan(10);
  const incomplete = RULES.filter(
    ({ expression, duration, severity }) =>
      metricsIn(expression).length === 0 ||
      !/^\d+m$/.test(duration) ||
      !['critical', 'warning'].includes(severity),
  );
  expect(incomplete).toEqual([]);
});

it('its expressions name metrics that exist, and group by labels that each of them has', async () => {
  const metrics = new Map((await readMetrics()).map(({ name, labels }) => [name, labels]));
  const unknown = RULES.flatMap(({ expression }) =>
    metricsIn(expression).flatMap((name) => {
      const labels = metrics.get(name);
      if (labels === undefined) return [name];
      return labelsIn(expression)
        .filter((label) => !labels.has(label))
        .map((label) => `${name}{${label}}`);
    }),
  );
  expect(unknown).toEqual([]);
});

it('its expressions read counters by increase, and gauges by value or delta', async () => {
  const types = new Map((await readMetrics()).map(({ name, type }) => [name, type]));
  const wrong = RULES.flatMap(({ expression }) =>
    metricsIn(expression).filter(
      (name) => expression.includes(`increase(${name}[`) !== (types.get(name) === 'counter'),
    ),
  );
  expect(wrong).toEqual([]);
});

it('it has an alert on every counter of losses', async () => {
  const losses = (await readMetrics())
    .filter(({ type, help }) => type === 'counter' && /are lost|without a webhook/.test(help))
    .map(({ name }) => name);
  expect(losses.length).toBeGreaterThan(3);
  const alerts = RULES.flatMap(({ expression }) => metricsIn(expression));
  expect(losses.filter((name) => !alerts.includes(name))).toEqual([]);
});

it('its log events are ones that the relay logs at level warn or error', () => {
  const known = readLogEvents()
    .filter(({ messages }) => messages.some(({ level }) => ['warn', 'error'].includes(level)))
    .map(({ name }) => name);
  expect(LOG_EVENTS.length).toBeGreaterThan(15);
  expect(LOG_EVENTS.filter((name) => !known.includes(name))).toEqual([]);
});

it('it names the log event of every property of a server', () => {
  expect(Object.values(SERVER_EVENTS).filter((name) => !LOG_EVENTS.includes(name))).toEqual([]);
});
