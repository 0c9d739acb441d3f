/** One attempt: build → sign → send → classify; then the claim ends in the outbox. */
import type { Chance, Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import type { Disposition, FailureDisposition, Outcome, Prevented } from '../model/vocabulary.js';
import type { Claimed, Outbox } from '../outbox/outbox.js';
import type { DeliveryEvents } from '../telemetry/delivery-events.js';
import { internalError } from './failure.js';
import { buildRequest, type WebhookRequest } from './request.js';
import { disposition } from './retry-policy.js';
import type { Sender } from './send.js';

export interface AttemptParts {
  /** Returns the current version of the endpoint. An attempt, from its signature to its outcome, has one version. */
  readonly current: () => Endpoint;
  readonly sender: Sender;
  readonly outbox: Outbox;
  readonly events: DeliveryEvents;
  /** The time by the clock of the Redis that holds the keys, which deadlines refer to. */
  readonly serverNowMs: () => number;
  readonly clock: Clock;
  readonly chance: Chance;
  /** Aborts when retries of outbox calls must end. */
  readonly stop: AbortSignal;
}

/** The wait before a failed outbox call is repeated. */
const SETTLE_AGAIN_MS = 500;

/** The outcome of an attempt, and what happens next to the delivery. */
export interface Attempted {
  readonly kind: 'made';
  readonly outcome: Outcome;
  readonly disposition: Disposition;
}

/** Makes the attempt of a claim, and calls `done` once; `prevented` if this machine could not make it. */
export function attempt(
  claimed: Claimed,
  parts: AttemptParts,
  done: (attempted: Attempted | Prevented) => void,
): void {
  const { sender, events, clock, chance } = parts;
  const endpoint = parts.current();
  const startedMs = clock.monotonicMs();
  const serverStartedAtMs = parts.serverNowMs();
  const end = (outcome: Outcome | Prevented) => {
    if (outcome.kind === 'prevented') {
      events.attemptPrevented(endpoint.name, outcome);
      return done(outcome);
    }
    const decidedAtMs = clock.monotonicMs();
    const durationMs = decidedAtMs - startedMs;
    const endedAtMs = clock.nowMs();
    const isFirst = claimed.attempt === 1 && !claimed.isReplay;
    if (isFirst) events.firstAttempted(claimed.delivery, serverStartedAtMs);
    const next = disposition(
      {
        outcome,
        attempt: claimed.attempt,
        startedMs,
        nowMs: decidedAtMs,
        fraction: chance.fraction(),
      },
      endpoint.retry,
    );
    events.attempted({ claimed, outcome, disposition: next, durationMs, decidedAtMs, endedAtMs });
    done({ kind: 'made', outcome, disposition: next });
  };
  let request: WebhookRequest;
  try {
    request = buildRequest(endpoint, claimed.delivery, clock.nowMs());
  } catch (error) {
    return end(internalError(error));
  }
  sender.send(request, end);
}

/** Releases a claim whose attempt was prevented. */
export function release(claimed: Claimed, parts: AttemptParts): Promise<void> {
  return retryUntilStored(() => parts.outbox.release(claimed), parts);
}

/** Ends claims in the outbox whose webhooks were accepted. */
export function settleDone(claims: readonly Claimed[], parts: AttemptParts): Promise<void> {
  return retryUntilStored(() => parts.outbox.settleDone(claims), parts);
}

/** Ends a claim in the outbox; `retryAfterMs` as in `Outbox.settle`, counted from the time of this call. */
export function settle(
  claimed: Claimed,
  disposition: FailureDisposition,
  retryAfterMs: number,
  parts: AttemptParts,
): Promise<void> {
  const { outbox, clock } = parts;
  const throttledUntilMs = clock.monotonicMs() + retryAfterMs;
  return retryUntilStored(() => {
    const leftMs = Math.max(0, throttledUntilMs - clock.monotonicMs());
    return outbox.settle(claimed, disposition, Math.round(leftMs));
  }, parts);
}

/** Forgets in the outbox that the endpoint has answered 410. */
export function forgetGone(endpoint: string, parts: AttemptParts): Promise<void> {
  return retryUntilStored(() => parts.outbox.forgetGone(endpoint), parts);
}

/** Repeats an outbox call until it succeeds or the relay stops, so that an outcome is not lost. */
async function retryUntilStored(
  call: () => Promise<void>,
  { current, events, clock, stop }: AttemptParts,
): Promise<void> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      events.outboxFailed(current().name, error);
      if (stop.aborted) return;
      await clock.sleep(SETTLE_AGAIN_MS, stop);
    }
  }
}
