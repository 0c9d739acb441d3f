import { loadSettings } from '../config/load.js';
import { createDnsLookup } from '../delivery/dns.js';
import { buildRequest, markAsTest } from '../delivery/request.js';
import { STATUS_GONE } from '../delivery/retry-policy.js';
import { createSender } from '../delivery/send.js';
import { adviceFor } from '../doctor/judge-endpoint.js';
import { type Clock, systemClock } from '../lib/clock.js';
import { preventionAdvice } from '../lib/exhaustion.js';
import { pluralize } from '../lib/pluralize.js';
import type { Outcome, Prevented } from '../model/vocabulary.js';
import { lengthText } from '../server/wording.js';
import type { CommandAction, FileOption } from './context.js';
import {
  headline,
  type KeyOptions,
  type Planned,
  plan,
  requestText,
  warnTooLarge,
} from './planned.js';

export type SendOptions = FileOption & KeyOptions;

/** Sends the requests that `match` shows, marked as tests; exit code 1 unless all are accepted. */
export const send: CommandAction<SendOptions> = async (context, options) => {
  const { env, cwd, stdout, stderr, stop } = context;
  const { settings } = await loadSettings({ file: options.config, env, cwd });
  const { planned, tooLarge } = plan(settings, options, true);
  const attempt = attemptsWith(systemClock, stop);
  let accepted = 0;
  for (const each of planned) {
    if (stop.aborted) break;
    const { line } = requestText(each, systemClock.nowMs());
    stdout.write(`${headline(each)}\n  ${line}\n  webhook-id: ${each.delivery.id}\n`);
    const { outcome, tookMs } = await attempt(each);
    stdout.write(`${outcomeText(outcome, tookMs, each)}\n`);
    if (outcome.kind === 'accepted') accepted += 1;
  }
  warnTooLarge(context, tooLarge);
  const missing = planned.length + tooLarge.length - accepted;
  if (missing === 0) return 0;
  const all = pluralize(planned.length + tooLarge.length, 'test webhook');
  stderr.write(`expiry-relay: of ${all}, ${missing} not accepted\n`);
  return 1;
};

interface Attempted {
  readonly outcome: Outcome | Prevented;
  readonly tookMs: number;
}

/** Each request uses its own connection, which is closed after it and on a stop. */
function attemptsWith(clock: Clock, stop: AbortSignal): (each: Planned) => Promise<Attempted> {
  const lookup = createDnsLookup(clock);
  return async ({ endpoint, delivery }) => {
    const sender = createSender(() => endpoint, clock, lookup);
    const breakOff = () => void sender.close();
    stop.addEventListener('abort', breakOff, { once: true });
    const beganAtMs = clock.monotonicMs();
    const request = markAsTest(buildRequest(endpoint, delivery, clock.nowMs()));
    const outcome = await sender.send(request);
    const tookMs = clock.monotonicMs() - beganAtMs;
    stop.removeEventListener('abort', breakOff);
    await sender.close();
    return { outcome, tookMs };
  };
}

function outcomeText(outcome: Outcome | Prevented, tookMs: number, { endpoint }: Planned): string {
  const length = lengthText(tookMs);
  switch (outcome.kind) {
    case 'accepted':
      return `  answered ${outcome.status} within ${length}${answerText(outcome.answer)}`;
    case 'rejected': {
      const result = `  answered ${outcome.status} within ${length}, which is no success (2xx)`;
      return result + answerText(outcome.answer) + adviceText(outcome);
    }
    case 'prevented':
      return `  not sent: ${outcome.detail}\n  → ${preventionAdvice(outcome)}`;
    case 'unreachable': {
      const { reason, detail } = outcome;
      const advice = adviceFor(outcome, endpoint);
      return `  no success after ${length} (${reason}): ${detail}\n  → ${advice}`;
    }
  }
}

/** The start of the response body, on its own line. */
function answerText(answer: string): string {
  return answer === '' ? '' : `\n  ${answer}`;
}

/** Advice for rejections that the status alone explains, on its own line. */
function adviceText({ status, location }: Outcome & { readonly kind: 'rejected' }): string {
  if (status === STATUS_GONE) {
    return '\n  → to a relay this ends the endpoint: it sends nothing more there until a restart';
  }
  if (status >= 400) return '';
  const where = location === null ? '' : ` (it leads to ${location})`;
  return `\n  → not followed: correct the URL${where}`;
}
