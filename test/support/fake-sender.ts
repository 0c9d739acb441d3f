/** A sender without a network: a test sees what is under way and answers it when it likes. */
import type { WebhookRequest } from '../../src/delivery/request.js';
import type { Done, Sender } from '../../src/delivery/send.js';
import type { Outcome, Prevented } from '../../src/model/vocabulary.js';

export const ACCEPTED: Outcome = { kind: 'accepted', status: 204, answer: '' };

export function rejected(status: number, retryAfterMs: number | null = null): Outcome {
  return { kind: 'rejected', status, retryAfterMs, location: null, answer: '' };
}

export const PREVENTED: Prevented = { kind: 'prevented', code: 'EMFILE', detail: 'too many files' };

export class FakeSender implements Sender {
  /** The webhook ids of all that was sent, in order. */
  readonly sent: string[] = [];
  /** The most that was under way at the same time. */
  underWayMax = 0;
  closed = false;
  /** Answers an attempt at once, when it gives an outcome. */
  instantly: (id: string) => Outcome | Prevented | null = () => null;
  readonly #open: { id: string; done: Done }[] = [];

  /** The webhook ids of what waits for an answer, oldest first. */
  get underWay(): string[] {
    return this.#open.map(({ id }) => id);
  }

  send({ headers }: WebhookRequest, done: Done): void {
    const id = headers[headers.indexOf('webhook-id') + 1] ?? '';
    this.sent.push(id);
    const outcome = this.instantly(id);
    if (outcome !== null) return done(outcome);
    this.#open.push({ id, done });
    this.underWayMax = Math.max(this.underWayMax, this.#open.length);
  }

  /** Ends the oldest attempt that is under way. */
  answer(outcome: Outcome | Prevented = ACCEPTED): void {
    const attempt = this.#open.shift();
    if (attempt === undefined) throw new Error('no attempt is under way');
    attempt.done(outcome);
  }

  async close(): Promise<void> {
    this.closed = true;
    const brokenOff: Outcome = {
      kind: 'unreachable',
      reason: 'network',
      code: '',
      detail: 'closed',
    };
    for (const { done } of this.#open.splice(0)) done(brokenOff);
  }
}
