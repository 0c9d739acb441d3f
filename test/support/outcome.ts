import type { WebhookRequest } from '../../src/delivery/request.js';
import * as send from '../../src/delivery/send.js';
import type { Outcome, Prevented } from '../../src/model/vocabulary.js';

/** The outcome of a request, with every field its own: comparisons ignore inherited ones. */
export async function outcomeOf(
  sender: send.Sender,
  request: WebhookRequest,
): Promise<Outcome | Prevented> {
  const outcome = await send.outcomeOf(sender, request);
  return outcome.kind === 'accepted' ? { ...outcome, answer: outcome.answer } : outcome;
}
