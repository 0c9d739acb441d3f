import type { Disposition } from '../../src/model/vocabulary.js';
import type { Claimed, Outbox } from '../../src/outbox/outbox.js';

/** Ends a claim by the call for its disposition. */
export function settle(
  outbox: Pick<Outbox, 'settle' | 'settleDone'>,
  claimed: Claimed,
  disposition: Disposition,
  retryAfterMs = 0,
): Promise<void> {
  if (disposition.kind === 'done') return outbox.settleDone([claimed]);
  return outbox.settle(claimed, disposition, retryAfterMs);
}
