/** The metrics as Prometheus scrapes them, and docs/reference/metrics.md made from them. */
import { systemClock } from '../../../src/lib/clock.js';
import { compilePattern } from '../../../src/routing/pattern.js';
import { Metrics } from '../../../src/telemetry/metrics.js';
import { anEndpoint, aRoute } from '../domain.js';
import { code, page, plain, table } from './page.js';

/** The labels with values of the user; the others have a closed set of values, each of which has a series. */
const OPEN_LABELS = ['endpoint', 'route', 'version', 'redis'];

/** Labels that belong to the type of a metric. */
const TYPE_LABELS = ['le'];

export interface Metric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** The values of each label; null for the values of the user. */
  readonly labels: ReadonlyMap<string, readonly string[] | null>;
}

/** Every metric of the relay itself, by name. */
export async function readMetrics(): Promise<readonly Metric[]> {
  const endpoint = anEndpoint();
  const route = aRoute({ patterns: [compilePattern('*')], includesValue: true });
  const metrics = new Metrics({ endpoints: new Map([[endpoint.name, endpoint]]), routes: [route] });
  // Has a series only while deliveries for an unknown endpoint are pending.
  metrics.unknownEndpointPending.set({ endpoint: 'unknown' }, 1);
  metrics.gaps.inc({ redis: '127.0.0.1:6379' }, 0);
  metrics.watchOutbox(async () => ({
    pending: 1,
    oldestDueForMs: 1,
    deadLetters: 1,
    throttledForMs: 1,
    paused: null,
  }));
  metrics.watchProcess('1.2.3');
  metrics.watchPrimaries(() => ({ primaries: 0, subscribed: 0, uncoveredSlots: 0 }));
  metrics.watchCapture(
    () => 1,
    async () => 1,
  );
  return metricsIn(await metrics.text(systemClock.turn));
}

/** `text`: the text format of Prometheus. */
function metricsIn(text: string): readonly Metric[] {
  const found = text.matchAll(
    /^# HELP (expiry_relay_\w+) (.*)\n# TYPE \1 (\w+)\n((?:(?!#).+\n)*)/gm,
  );
  return Array.from(found, ([, name = '', help = '', type = '', series = '']) => {
    if (series === '') throw new Error(`${name} has no series, which would show its labels`);
    return { name, type, help, labels: labelsIn(series) };
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function labelsIn(series: string): ReadonlyMap<string, readonly string[] | null> {
  const labels = new Map<string, readonly string[] | null>();
  for (const [, label = '', value = ''] of series.matchAll(/(\w+)="([^"]*)"/g)) {
    if (TYPE_LABELS.includes(label)) continue;
    const values = OPEN_LABELS.includes(label) ? null : [...(labels.get(label) ?? []), value];
    labels.set(label, values === null ? null : [...new Set(values)]);
  }
  return labels;
}

export function metricsPage(metrics: readonly Metric[]): string {
  const rows = metrics.map(({ name, type, help, labels }) => [
    code(name),
    type,
    [...labels].map(labelText).join('<br>'),
    plain(help),
  ]);
  return page(
    'Metrics',
    `The relay serves these metrics at \`/metrics\` of its [admin port](../operations/monitoring.md#admin-port).
[Alerts](../operations/monitoring.md#alerts) lists the metrics that are worth an alert.

The values of \`endpoint\` and \`route\` are names from the configuration. All series of a counter exist from the start,
so that \`rate()\` and \`increase()\` include the first event. The relay also serves the standard metrics of the process
and of Node.js (\`process_*\`, \`nodejs_*\`).`,
    table(['metric', 'type', 'labels', 'description'], rows),
  );
}

function labelText([label, values]: readonly [string, readonly string[] | null]): string {
  return values === null ? code(label) : `${code(label)}: ${values.map(code).join(', ')}`;
}
