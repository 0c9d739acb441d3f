/** One attempt, in one straight line: build → sign → send → classify → settle. */
import type { Chance, Clock } from '../clock.js';
import type { DeliveryEvents } from '../events/delivery-events.js';
import type { Claimed, Outbox } from '../outbox/outbox.js';
import type { Endpoint, Outcome } from '../vocabulary.js';
import { buildRequest } from './request.js';
import { disposition } from './retry-policy.js';
import type { Sender } from './send.js';

export interface AttemptParts {
  readonly endpoint: Endpoint;
  readonly sender: Sender;
  readonly outbox: Outbox;
  readonly events: DeliveryEvents;
  readonly clock: Clock;
  readonly chance: Chance;
}

/** Resolves once the outbox knows what came of it; rejects only when the outbox does. */
export async function attempt(claimed: Claimed, parts: AttemptParts): Promise<Outcome> {
  const { endpoint, sender, outbox, events, clock, chance } = parts;
  const startedAtMs = clock.monotonicMs();
  const request = buildRequest(endpoint, claimed.delivery, clock.nowMs());
  const outcome = await sender.send(request);
  const durationMs = clock.monotonicMs() - startedAtMs;
  const endedAtMs = clock.nowMs();
  const next = disposition(
    { outcome, attempt: claimed.attempt, nowMs: endedAtMs, fraction: chance.fraction() },
    endpoint.retry,
  );
  events.attempted({ claimed, outcome, disposition: next, durationMs, endedAtMs });
  await outbox.settle(claimed, next);
  return outcome;
}
