/**
 * The throughput that the round trip to a Redis allows. Derived from the relay's requests and measured (`npm run
 * bench -- distance`); docs/operations/sizing.md has both. Pure.
 */
import { SLICE_MAX } from '../capture/event-processor.js';
import { printable } from '../lib/printable.js';
import type { Endpoint } from '../model/endpoint.js';
import { type Finding, note, ok } from '../server/finding.js';
import { countText } from '../server/wording.js';
import { NUDGE_BATCH } from '../watch/nudger.js';

/**
 * Round trips to store a batch of expirations: one reads the deadlines, two write the deliveries, which are built a
 * few milliseconds at a time. A slow machine needs one more.
 */
const ROUND_TRIPS_PER_SLICE = 3;

/**
 * Round trips per delivery for each slot of an endpoint's concurrency: the current claim ends, and the next claim is
 * made. The previous delivery is settled at the same time.
 */
const ROUND_TRIPS_PER_DELIVERY = 2;

/** Approximate rate of one relay next to its Redis: see docs/benchmarks.md. */
const NEARBY_PER_S = 3_000;

/** Endpoints named in the finding, slowest first. */
const NAMED_MAX = 3;

const ADVICE = 'if that is not enough, run the relay closer to this Redis';

/** For the Redis that holds the keys, when the state is elsewhere. */
export function judgeThroughput(roundTripMs: number): Finding {
  const subject = 'throughput';
  const perS = NUDGE_BATCH / (roundTripMs / 1_000);
  if (perS >= NEARBY_PER_S) return ok(subject, unboundText(roundTripMs));
  return note(subject, boundText(perS, roundTripMs), ADVICE);
}

/** For the Redis that holds the state. */
export function judgeStateThroughput(
  roundTripMs: number,
  endpoints: readonly Pick<Endpoint, 'name' | 'concurrency'>[],
  subject: 'throughput' | 'state throughput',
): Finding {
  const roundTripS = roundTripMs / 1_000;
  const stored = SLICE_MAX / (ROUND_TRIPS_PER_SLICE * roundTripS);
  const rates = endpoints
    .map(({ name, concurrency }) => {
      const perS = concurrency / (ROUND_TRIPS_PER_DELIVERY * roundTripS);
      return { perS, text: `${printable(name)} ${rateText(perS)}/s (concurrency ${concurrency})` };
    })
    .sort((one, other) => one.perS - other.perS);
  const delivered = rates.reduce((sum, { perS }) => sum + perS, 0);
  const perS = Math.min(stored, delivered);
  const named = rates.slice(0, NAMED_MAX).map(({ text }) => text);
  const more = rates.length > NAMED_MAX ? ', …' : '';
  if (perS >= NEARBY_PER_S) return ok(subject, unboundText(roundTripMs));
  const text = `${boundText(perS, roundTripMs)}; by endpoint: ${named.join(', ')}${more}`;
  return note(subject, text, `${ADVICE}, or raise concurrency`);
}

function boundText(perS: number, roundTripMs: number): string {
  const rate = `at most about ${rateText(perS)} webhooks/s`;
  return `${rate} with a round trip of ${millisecondsText(roundTripMs)}`;
}

function unboundText(roundTripMs: number): string {
  return `not limited by the round trip of ${millisecondsText(roundTripMs)}`;
}

function millisecondsText(ms: number): string {
  return `${countText(ms < 10 ? Number(ms.toFixed(1)) : Math.round(ms))} ms`;
}

/** Two digits are the precision of the estimate. */
function rateText(perS: number): string {
  return countText(Number(perS.toPrecision(2)));
}
