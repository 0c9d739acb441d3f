/** One attempt: build → sign → send → classify; and how its claim ends in the outbox. */
import type { Chance, Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Disposition, Outcome, Prevented } from '../model/vocabulary.js';
import type { Claimed, Outbox } from '../outbox/outbox.js';
import type { DeliveryEvents } from '../telemetry/delivery-events.js';
import { buildRequest } from './request.js';
import { disposition } from './retry-policy.js';
import type { Sender } from './send.js';

export interface AttemptParts {
  readonly endpoint: Endpoint;
  /** The same with the credentials that it has now. */
  readonly current: () => Endpoint;
  readonly sender: Sender;
  readonly outbox: Outbox;
  readonly events: DeliveryEvents;
  /** The time by the clock of the Redis that holds the keys: what deadlines are by. */
  readonly serverNowMs: () => number;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Aborts when nothing is to be waited for any more. */
  readonly stop: AbortSignal;
}

/** The wait before an outbox that could not be used is told again. */
const SETTLE_AGAIN_MS = 500;

/** What came of an attempt, and what happens next to the delivery. */
export interface Attempted {
  readonly kind: 'made';
  readonly outcome: Outcome;
  readonly disposition: Disposition;
}

/** Makes the attempt that a claim is for; `prevented` when it could not be made. Never rejects. */
export async function attempt(
  claimed: Claimed,
  parts: AttemptParts,
): Promise<Attempted | Prevented> {
  const { endpoint, sender, events, clock, chance } = parts;
  const startedAtMs = clock.monotonicMs();
  const serverStartedAtMs = parts.serverNowMs();
  const request = buildRequest(parts.current(), claimed.delivery, clock.nowMs());
  const outcome = await sender.send(request);
  if (outcome.kind === 'prevented') {
    events.attemptPrevented(endpoint.name, outcome);
    return outcome;
  }
  const decidedAtMs = clock.monotonicMs();
  const durationMs = decidedAtMs - startedAtMs;
  const endedAtMs = clock.nowMs();
  const isFirst = claimed.attempt === 1 && !claimed.isReplay;
  if (isFirst) events.firstAttempted(claimed.delivery, serverStartedAtMs);
  const next = disposition(
    { outcome, attempt: claimed.attempt, nowMs: decidedAtMs, fraction: chance.fraction() },
    endpoint.retry,
  );
  events.attempted({ claimed, outcome, disposition: next, durationMs, decidedAtMs, endedAtMs });
  return { kind: 'made', outcome, disposition: next };
}

/** Hands back a claim whose attempt was prevented. */
export function release(claimed: Claimed, parts: AttemptParts): Promise<void> {
  return untilKnown(() => parts.outbox.release(claimed), parts);
}

/** Ends a claim in the outbox; `retryAfterMs` as in `Outbox.settle`, counted from now however long that takes. */
export function settle(
  claimed: Claimed,
  disposition: Disposition,
  retryAfterMs: number,
  parts: AttemptParts,
): Promise<void> {
  const { outbox, clock } = parts;
  const throttledUntilMs = clock.monotonicMs() + retryAfterMs;
  return untilKnown(() => {
    const leftMs = Math.max(0, throttledUntilMs - clock.monotonicMs());
    return outbox.settle(claimed, disposition, Math.ceil(leftMs));
  }, parts);
}

/** What came of a claim must not be forgotten: repeated until the outbox knows, or at a stop. */
async function untilKnown(
  tell: () => Promise<void>,
  { endpoint, events, clock, stop }: AttemptParts,
): Promise<void> {
  for (;;) {
    try {
      return await tell();
    } catch (error) {
      events.deliveryFailed(endpoint.name, error);
      if (stop.aborted) return;
      await clock.sleep(SETTLE_AGAIN_MS, stop);
    }
  }
}
