/** Metrics of the process, named as standard dashboards expect them, and of the build. */
import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';

/** `prefix` begins the names of the relay's own metrics. The process metrics keep a timer running. */
export function registerProcessMetrics(registry: Registry, prefix: string, version: string): void {
  collectDefaultMetrics({ register: registry });
  const build = new Gauge({
    name: `${prefix}build_info`,
    help: 'Always 1. The label has the version of the relay.',
    labelNames: ['version'],
    registers: [registry],
  });
  build.set({ version }, 1);
}
