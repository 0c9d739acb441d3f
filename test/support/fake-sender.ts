/** A sender without a network: a test inspects the attempts in progress and answers them. */
import type { WebhookRequest } from '../../src/delivery/request.js';
import type { Done, Sender } from '../../src/delivery/send.js';
import type { Outcome, Prevented } from '../../src/model/vocabulary.js';

export const ACCEPTED: Outcome = { kind: 'accepted', status: 204, answer: '' };

export function rejected(status: number, retryAfterMs: number | null = null): Outcome {
  return { kind: 'rejected', status, retryAfterMs, location: null, answer: '' };
}

export const PREVENTED: Prevented = { kind: 'prevented', code: 'EMFILE', detail: 'too many files' };

export class FakeSender implements Sender {
  /** The webhook ids of all attempts, in order. */
  readonly sent: string[] = [];
  /** The highest number of simultaneous attempts. */
  underWayMax = 0;
  closed = false;
  /** Answers an attempt at once if it returns an outcome. */
  instantly: (id: string) => Outcome | Prevented | null = () => null;
  readonly #open: { id: string; done: Done }[] = [];

  /** The webhook ids of attempts without an answer, oldest first. */
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

  /** Ends the oldest attempt in progress. */
  answer(outcome: Outcome | Prevented = ACCEPTED): void {
    const attempt = this.#open.shift();
    if (attempt === undefined) throw new Error('no attempt is in progress');
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
