/**
 * Gaps that no action caused: a machine, or its disk, that stalls for longer than connections last.
 * Pure, except for reading the logs.
 */
import type { Deployment } from './deployment.js';
import type { Disturbance, Span } from './records.js';

const LOOK_EVERY_MS = 250;

/** Longer than any pause of a busy process; shorter than replicas buffer events. */
const STANDSTILL_MS_MIN = 3_000;

/** Time until all that was in progress then is over. */
const AFTERMATH_MS = 10_000;

/** Detects stalls of the whole machine, such as a virtual one. */
export class Standstills implements Disposable {
  readonly found: Disturbance[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor() {
    let lastMs = Date.now();
    this.#timer = setInterval(() => {
      const nowMs = Date.now();
      if (nowMs - lastMs >= STANDSTILL_MS_MIN) {
        const span = { fromMs: lastMs, toMs: nowMs + AFTERMATH_MS };
        this.found.push({
          what: 'the machine stood still',
          ...span,
          gap: { ...span, slots: null },
          losesWrites: null,
        });
      }
      lastMs = nowMs;
    }, LOOK_EVERY_MS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** When all of these are true at once; each is a list of spans. */
export function sharedBy(lists: readonly (readonly Span[])[]): Span[] {
  const [first = [], ...others] = lists;
  return others.reduce<Span[]>(
    (shared, list) =>
      shared.flatMap((one) =>
        list
          .map((other) => ({
            fromMs: Math.max(one.fromMs, other.fromMs),
            toMs: Math.min(one.toMs, other.toMs),
          }))
          .filter(({ fromMs, toMs }) => fromMs < toMs),
      ),
    [...first],
  );
}

/** When each replica reports a gap that no action has caused. */
export function stallsOf({ slots }: Deployment, made: readonly Disturbance[]): Disturbance[] {
  const deaf = slots.map(({ processes }) =>
    processes.flatMap((each) =>
      each.logs('listening').flatMap(({ time, gap_ms: gapMs }) => {
        const toMs = Date.parse(String(time));
        return typeof gapMs === 'number' ? [{ fromMs: toMs - gapMs, toMs }] : [];
      }),
    ),
  );
  const isMade = ({ fromMs, toMs }: Span) =>
    made.some(({ gap }) => gap !== null && gap.fromMs <= toMs && fromMs <= gap.toMs);
  return sharedBy(deaf)
    .filter((span) => !isMade(span))
    .map((gap) => ({
      what: 'nobody listened, for no reason',
      ...gap,
      gap: { ...gap, slots: null },
      losesWrites: null,
    }));
}
