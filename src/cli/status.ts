/** Shows which relays run, and what waits for each endpoint. */
import { systemClock } from '../lib/clock.js';
import { pluralize } from '../lib/pluralize.js';
import { escapeUnprintable, printable, printableJson } from '../lib/printable.js';
import type { Depth } from '../outbox/outbox.js';
import { RedisDeadLetters } from '../outbox/redis-dead-letters.js';
import { readDepth } from '../outbox/redis-depth.js';
import { defineOutboxScripts } from '../outbox/scripts/scripts.js';
import { countText, keysText, lengthText } from '../server/wording.js';
import type { RedisState } from '../state/redis-state.js';
import { type Relays, readRelays } from '../state/relays.js';
import type { CommandAction, ExitCode, FileOption } from './context.js';
import { withState } from './open-dead-letters.js';
import { pauseRow, pauseText } from './pauses.js';
import { Printer } from './printer.js';
import { type Screen, screenOf } from './screen.js';
import { type Column, NEEDED, Table } from './table.js';

const WATCH_EVERY_MS = 2_000;

/** Clears a terminal, and returns to its first line. */
const CLEAR = '\u001b[H\u001b[2J';

/** Length of a replica's name that distinguishes it from others. */
const NAME_CHARS = 8;

export interface StatusOptions extends FileOption {
  readonly json?: boolean;
  /** Print again every two seconds, until a signal. */
  readonly watch?: boolean;
}

/** An endpoint of the configuration or of the state. */
export interface EndpointStatus extends Depth {
  readonly name: string;
  /** Whether a running replica has it. */
  readonly isRunning: boolean;
  /** The running replicas to which it answered 410. */
  readonly goneIn: readonly string[];
}

interface Status {
  readonly relays: Relays;
  readonly endpoints: readonly EndpointStatus[];
}

export const status: CommandAction<StatusOptions> = (context, options) =>
  withState<ExitCode>(context, options, async (state, { endpoints, redis }) => {
    const { stop } = context;
    const printer = new Printer(context);
    const screen = screenOf(context);
    do {
      const found = await readStatus(state, [...endpoints.keys()], redis.databases);
      const text = options.json ? jsonOf(found) : statusText(found, screen);
      const isRedrawn = options.watch === true && options.json !== true && screen.isTerminal;
      if (!(await printer.print(isRedrawn ? CLEAR + text : text))) break;
      if (options.watch) await systemClock.sleep(WATCH_EVERY_MS, stop);
    } while (options.watch && !stop.aborted);
    return 0;
  });

async function readStatus(
  state: RedisState,
  configured: readonly string[],
  databases: readonly number[],
): Promise<Status> {
  const scripts = defineOutboxScripts(state.redis);
  const letters = new RedisDeadLetters(state, scripts);
  const [relays, running, gone, stored] = await Promise.all([
    state.run('depth', () => readRelays(state.redis, state.prefix, databases)),
    letters.runningEndpoints(),
    letters.goneEndpoints(),
    letters.endpoints(),
  ]);
  const endpoints: EndpointStatus[] = [];
  for (const name of new Set([...configured, ...stored])) {
    const { oldest, ...depth } = await readDepth(state, scripts, name);
    const oldestDueForMs = oldest === null ? null : Math.max(0, oldest.atMs - oldest.dueMs);
    const goneIn = gone.get(name) ?? [];
    endpoints.push({ ...depth, name, oldestDueForMs, isRunning: running.has(name), goneIn });
  }
  return { relays, endpoints };
}

const COLUMNS: readonly Column<EndpointStatus>[] = [
  { title: 'ENDPOINT', charsMax: 64, charsMin: 8, rank: NEEDED, cell: ({ name }) => name },
  {
    title: 'PENDING',
    charsMax: 16,
    charsMin: null,
    rank: NEEDED,
    cell: ({ pending }) => countText(pending),
  },
  {
    title: 'OLDEST DUE',
    charsMax: 16,
    charsMin: null,
    rank: 1,
    cell: ({ oldestDueForMs }) => (oldestDueForMs === null ? '-' : lengthText(oldestDueForMs)),
  },
  {
    title: 'DEAD',
    charsMax: 16,
    charsMin: null,
    rank: NEEDED,
    cell: ({ deadLetters }) => countText(deadLetters),
  },
  { title: 'STATUS', charsMax: 1_000, charsMin: 12, rank: NEEDED, cell: conditionOf },
];

/** Why the endpoint gets no webhooks, the most lasting reason first. Pure. */
export function conditionOf({ paused, isRunning, goneIn, throttledForMs }: EndpointStatus): string {
  if (paused !== null) return `paused ${pauseText(paused)}`;
  if (!isRunning) return 'no running relay has it';
  if (goneIn.length > 0) return `gone: answered 410 to ${goneIn.join(', ')}`;
  if (throttledForMs > 0) return `throttled for ${lengthText(throttledForMs)} (Retry-After)`;
  return 'delivering';
}

/** Pure. */
export function statusText({ relays, endpoints }: Status, screen: Screen): string {
  const { running, holder, tracked } = relays;
  const who = holder === null ? 'none holds the lease' : `${nameOf(holder)} holds the lease`;
  const head =
    running === 0 ? 'no relay is running' : `${pluralize(running, 'replica')} running, ${who}`;
  const table = new Table(COLUMNS, screen).lines(endpoints);
  return `${head}; ${keysText(tracked)} tracked\n\n${table}`;
}

function nameOf(holder: string): string {
  return printable(holder, NAME_CHARS);
}

function jsonOf({ relays, endpoints }: Status): string {
  const { running, holder, tracked } = relays;
  const rows = endpoints.map((one) => ({
    endpoint: escapeUnprintable(one.name),
    pending: one.pending,
    oldest_due_seconds: one.oldestDueForMs === null ? null : one.oldestDueForMs / 1_000,
    dead_letters: one.deadLetters,
    throttled_for_seconds: one.throttledForMs / 1_000,
    paused: pauseRow(one.paused),
    running: one.isRunning,
    gone_in: one.goneIn,
  }));
  return `${printableJson({ replicas: running, lease: holder, tracked, endpoints: rows })}\n`;
}
