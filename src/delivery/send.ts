/** The HTTP client: one request, one response, one time limit. It does not retry. */
import type { LookupFunction } from 'node:net';
import type { Clock } from '../lib/clock.js';
import type { Endpoint } from '../model/endpoint.js';
import { codeOf, messageOf } from '../model/errors.js';
import type { Outcome, Prevented, ResponseFaults } from '../model/vocabulary.js';
import { type Answer, type Connection, KEEP_ALIVE_MS, type Recipient } from './connection.js';
import { Connections } from './connections.js';
import { CONNECT_TIMEOUT_CODE, internalError, preventionOf, unreachableReason } from './failure.js';
import { redact, repeatedCredential } from './redaction.js';
import type { WebhookRequest } from './request.js';
import { ResponseHeadError } from './response-reader.js';
import { readRetryAfter, receiverTimeMs } from './retry-policy.js';

export interface Sender {
  /**
   * Calls `done` once: a failure is an outcome, or has prevented the attempt. The caller limits how many requests are in
   * progress.
   */
  send(request: WebhookRequest, done: Done): void;
  /** Cancels requests in progress. */
  close(): Promise<void>;
}

export type Done = (outcome: Outcome | Prevented) => void;

/** @param current returns the endpoint with its current certificates and headers */
export function createSender(
  current: () => Endpoint,
  clock: Clock,
  lookup: LookupFunction,
): Sender {
  return new HttpSender(current, clock, lookup);
}

/** Resolves with the outcome of a request. */
export function outcomeOf(sender: Sender, request: WebhookRequest): Promise<Outcome | Prevented> {
  return new Promise((resolve) => sender.send(request, resolve));
}

class HttpSender implements Sender {
  readonly #current: () => Endpoint;
  readonly #clock: Clock;
  readonly #connections: Connections<Sending>;
  /**
   * Connections with a request in progress. The set does not hold the requests: V8 may keep objects that were deleted
   * from a busy set until a full garbage collection.
   */
  readonly #busy = new Set<Connection<Sending>>();
  /** Cancels the timer for the earliest time limit; null: none runs. */
  #cancelTimer: (() => void) | null = null;
  #lastAnswerAtMs = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(current: () => Endpoint, clock: Clock, lookup: LookupFunction) {
    this.#current = current;
    this.#clock = clock;
    this.#connections = new Connections(current, clock, lookup);
  }

  send(request: WebhookRequest, done: Done): void {
    this.#begin(new Sending(request, this.#current(), this.#clock.monotonicMs(), done, this));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    for (const connection of this.#busy) connection.abort(new Error('closed'));
    await this.#connections.close();
  }

  #begin(sending: Sending): void {
    if (this.#isClosed) return this.#finish(sending, null, new Error('closed'));
    const connection = this.#connections.take();
    this.#busy.add(connection);
    connection.begin(sending.request, sending);
    if (this.#cancelTimer === null) this.#timeNext();
  }

  /** A connection has ended its request. */
  ended(
    sending: Sending,
    connection: Connection<Sending>,
    answer: Answer | null,
    error: unknown,
  ): void {
    this.#busy.delete(connection);
    this.#connections.release(connection);
    if (error !== null && !connection.hasBegun && this.#isWorthRepeating(sending, error)) {
      sending.isRepeated = true;
      // The client of the connection handles its error first.
      queueMicrotask(() => this.#begin(sending));
      return;
    }
    this.#finish(sending, answer, error);
  }

  #finish(sending: Sending, answer: Answer | null, error: unknown): void {
    if (answer !== null) this.#lastAnswerAtMs = this.#clock.monotonicMs();
    // Outside of undici's callbacks, which catch errors.
    queueMicrotask(() => sending.done(this.#outcomeOf(sending, answer, error)));
  }

  /**
   * A receiver may close an idle connection just as it is reused. It has not seen the request in that case: sending
   * again belongs to the same attempt.
   */
  #isWorthRepeating({ isRepeated, isTooLate }: Sending, error: unknown): boolean {
    if (isRepeated || isTooLate || this.#isClosed) return false;
    const wasIdle = this.#clock.monotonicMs() - this.#lastAnswerAtMs <= KEEP_ALIVE_MS;
    return wasIdle && unreachableReason(error) === 'connection_reset';
  }

  /** Starts the timer for the earliest time limit. */
  #timeNext(): void {
    this.#cancelTimer = null;
    const limitsMs = [...this.#busy].flatMap(({ recipient }) => recipient?.dueMs ?? []);
    if (limitsMs.length === 0 || this.#isClosed) return;
    const leftMs = Math.max(0, Math.min(...limitsMs) - this.#clock.monotonicMs());
    this.#cancelTimer = this.#clock.after(leftMs, async () => {
      // After a pause of the process, first reads the data that arrived meanwhile.
      await this.#clock.turn();
      const nowMs = this.#clock.monotonicMs();
      for (const connection of this.#busy) {
        const { recipient } = connection;
        if (recipient === null || recipient.dueMs > nowMs) continue;
        recipient.isTooLate = true;
        connection.abort(new Error('the time limit of the attempt'));
      }
      this.#timeNext();
    });
  }

  #outcomeOf(sending: Sending, answer: Answer | null, error: unknown): Outcome | Prevented {
    try {
      return this.#classify(sending, answer, error);
    } catch (bug) {
      return internalError(bug);
    }
  }

  #classify(
    { isTooLate, endpoint }: Sending,
    answer: Answer | null,
    error: unknown,
  ): Outcome | Prevented {
    if (answer !== null) {
      const malformed = error === null ? null : malformedText(error, isTooLate, endpoint);
      return judge(answer, malformed, endpoint, this.#clock.nowMs());
    }
    const prevention = preventionOf(error);
    if (prevention !== null) return prevention;
    const reason = unreachableReason(error);
    // A proxy's own timeout already says what happened.
    if ((isTooLate && reason !== 'proxy') || codeOf(error) === CONNECT_TIMEOUT_CODE) {
      const detail = `no response within ${endpoint.timeoutMs} ms`;
      return { kind: 'unreachable', reason: 'timeout', code: '', detail };
    }
    if (this.#isClosed) {
      const detail = 'aborted because the relay stopped';
      return { kind: 'unreachable', reason: 'stopped', code: '', detail };
    }
    const detail = redact(messageOf(error), endpoint);
    return { kind: 'unreachable', reason, code: codeOf(error), detail };
  }
}

/** One request until its outcome; on at most two connections, one after the other. */
class Sending implements Recipient<Sending> {
  isRepeated = false;
  /** Whether the time limit has ended the request. */
  isTooLate = false;

  readonly request: WebhookRequest;
  /** As it was when the request began: a response may repeat the credentials of that time. */
  readonly endpoint: Endpoint;
  /** The time limit, by the monotonic clock. */
  readonly dueMs: number;
  readonly done: Done;
  readonly #sender: HttpSender;

  constructor(
    request: WebhookRequest,
    endpoint: Endpoint,
    nowMs: number,
    done: Done,
    sender: HttpSender,
  ) {
    this.request = request;
    this.endpoint = endpoint;
    this.dueMs = nowMs + endpoint.timeoutMs;
    this.done = done;
    this.#sender = sender;
  }

  ended(connection: Connection<Sending>, answer: Answer | null, error: unknown): void {
    this.#sender.ended(this, connection, answer, error);
  }
}

/** Why a response whose status was read is incomplete. */
function malformedText(error: unknown, isTooLate: boolean, endpoint: Endpoint): string {
  if (isTooLate) return `the response was not complete within ${endpoint.timeoutMs} ms`;
  // The message contains no data of the receiver.
  if (error instanceof ResponseHeadError) return error.message;
  return redact(messageOf(error), endpoint);
}

function judge(
  answer: Answer,
  malformed: string | null,
  endpoint: Endpoint,
  nowMs: number,
): Outcome {
  const { status } = answer;
  const faults: ResponseFaults = malformed === null ? {} : { malformed };
  if ((status >= 200 && status < 300) || endpoint.accept.has(status)) {
    return Object.assign(new Accepted(answer, endpoint), faults);
  }
  const headers = answer.headers();
  const receiverNowMs = receiverTimeMs(only(headers.date), nowMs);
  const wait = readRetryAfter(status, only(headers['retry-after']), receiverNowMs);
  return {
    kind: 'rejected',
    status,
    retryAfterMs: wait.kind === 'wait' ? wait.ms : null,
    location: shownLocation(only(headers.location), endpoint),
    answer: shownBody(answer, endpoint),
    ...faults,
    ...(wait.kind === 'unreadable' ? { unreadableRetryAfter: redact(wait.text, endpoint) } : {}),
  };
}

/** A success. Its body is read on demand: searching every body for credentials would cost as much as the request. */
class Accepted {
  readonly kind = 'accepted';
  readonly status: number;
  readonly #answer: Answer;
  readonly #endpoint: Endpoint;

  constructor(answer: Answer, endpoint: Endpoint) {
    this.status = answer.status;
    this.#answer = answer;
    this.#endpoint = endpoint;
  }

  get answer(): string {
    return shownBody(this.#answer, this.#endpoint);
  }
}

function shownBody({ bodyChunks }: Answer, endpoint: Endpoint): string {
  return redact(Buffer.concat(bodyChunks).toString(), endpoint);
}

/** The first one of several headers with the same name. */
function only(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/** A redirect's target, safe to print: its login and query may be secret, and its path may repeat a header. */
function shownLocation(header: string | undefined, endpoint: Endpoint): string | null {
  if (header === undefined || !URL.canParse(header, endpoint.url.href)) return null;
  const { protocol, origin, pathname, search } = new URL(header, endpoint.url);
  if (!/^https?:$/.test(protocol)) return null;
  const text = `${origin}${pathname}${search === '' ? '' : '?…'}`;
  return repeatedCredential(text, endpoint) === null ? redact(text, endpoint) : null;
}
