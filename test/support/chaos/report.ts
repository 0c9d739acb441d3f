/** The findings of the oracle, readable: a table, and the details of each violation. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Deployment } from './deployment.js';
import type { Verdict, Violation } from './oracle.js';
import type { Records } from './records.js';

/** What the logs say so long before and after a life is shown with it. */
const BEFORE_MS = 3_000;
const AFTER_MS = 8_000;

/** The rest is in the file. */
const SHOWN_MAX = 5;
const LINES_MAX = 40;

export function tableOf({ violations, figures }: Verdict): string[] {
  const { endings, latenessMs } = figures;
  const rows: [string, string | number][] = [
    ...(Object.entries(endings) as [string, number][]).map(([ending, count]): [string, number] => [
      `lives: ${ending}`,
      count,
    ]),
    ['lives: uncertain after a failover', figures.uncertain],
    ['webhooks', figures.webhooks],
    ['repeats', figures.repeats],
    ['recovered', figures.recovered],
    ['without a deadline', figures.withoutDeadline],
    ['lost inside gaps', figures.lostInGaps],
    ['false inside gaps', figures.falseInGaps],
    ['lateness in calm: p50, p99, max', latenessText(latenessMs)],
    ['violations', violations.length],
  ];
  return rows.map(([name, value]) => `${name.padEnd(34)}${value}`);
}

function latenessText(ascending: readonly number[]): string {
  const at = (share: number) => ascending[Math.floor((ascending.length - 1) * share)] ?? Number.NaN;
  return `${at(0.5)} ms, ${at(0.99)} ms, ${at(1)} ms (${ascending.length} keys)`;
}

/** Writes down what each replica has logged; resolves with the folder. */
export async function keepLogs({ slots }: Deployment): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'expiry-relay-chaos-'));
  for (const { name, processes } of slots) {
    for (const [at, { stdout, stderr }] of processes.entries()) {
      await writeFile(join(folder, `replica-${name}${at}.log`), stdout + stderr);
    }
  }
  return folder;
}

/** The first violations, each with its life, all lives of its key, its webhooks and what the replicas logged. */
export async function diagnose(
  { violations }: Verdict,
  records: Records,
  deployment: Deployment,
): Promise<string[]> {
  if (violations.length === 0) return [];
  const folder = await keepLogs(deployment);
  await writeFile(join(folder, 'records.json'), JSON.stringify({ violations, ...records }));
  const shown = violations
    .slice(0, SHOWN_MAX)
    .flatMap((one) => [
      `VIOLATION ${one.kind}: ${one.text}; key ${one.key}`,
      `  life: ${JSON.stringify(one.life)}`,
      ...records.lives
        .filter(({ key }) => key === one.key)
        .map((each) => `  life of the key: ${JSON.stringify(each)}`),
      ...one.received.map((each) => `  received: ${JSON.stringify(each)}`),
      ...context(one, records, deployment).slice(0, LINES_MAX),
    ]);
  return [...shown, `all records and logs: ${folder}`];
}

/** What was disturbed and logged about that time, in order. */
function context(one: Violation, { disturbances }: Records, { slots }: Deployment): string[] {
  const times = [
    ...(one.life?.held.map(({ deadlineMs }) => deadlineMs) ?? []),
    ...one.received.map(({ atMs }) => atMs),
  ];
  const fromMs = Math.min(...times) - BEFORE_MS;
  const toMs = Math.max(...times) + AFTER_MS;
  const disturbed = disturbances
    .filter((each) => each.fromMs <= toMs && each.toMs >= fromMs)
    .map((each) => ({ atMs: each.fromMs, text: `disturbance ${JSON.stringify(each)}` }));
  const logged = slots.flatMap(({ name, processes }) =>
    processes.flatMap((each, at) =>
      each
        .logs()
        .map((line) => ({ line, atMs: Date.parse(String(line.time)) }))
        .filter(({ atMs }) => atMs >= fromMs && atMs <= toMs)
        .filter(({ line }) => line.event !== 'attempt' || line.key === one.key)
        .map(({ line, atMs }) => ({ atMs, text: `replica ${name}${at} ${JSON.stringify(line)}` })),
    ),
  );
  return [...disturbed, ...logged]
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ atMs, text }) => `  ${new Date(atMs).toISOString()} ${text}`);
}
