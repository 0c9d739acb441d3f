import { readEndpointUrl } from '../config/addresses.js';
import { loadSettings } from '../config/load.js';
import { createDnsLookup } from '../delivery/dns.js';
import { buildRequest, markAsTest } from '../delivery/request.js';
import { STATUS_GONE } from '../delivery/retry-policy.js';
import { createSender, outcomeOf } from '../delivery/send.js';
import { adviceFor } from '../doctor/judge-endpoint.js';
import { type Clock, systemClock } from '../lib/clock.js';
import { preventionAdvice } from '../lib/exhaustion.js';
import { printableJson } from '../lib/printable.js';
import { wrap } from '../lib/terminal.js';
import type { Endpoint } from '../model/endpoint.js';
import { UsageError } from '../model/errors.js';
import type { Outcome, Prevented, Settings } from '../model/vocabulary.js';
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
import { adviceLines, type Screen, screenOf } from './screen.js';

export interface SendOptions extends FileOption, KeyOptions {
  /** A URL to send to, instead of the endpoints' own. */
  readonly to?: string;
  readonly json?: boolean;
}

/** Sends the requests that `match` shows, marked as tests; exit code 1 unless all are accepted. */
export const send: CommandAction<SendOptions> = async (context, options) => {
  const { env, cwd, stdout, stderr, stop } = context;
  const loaded = await loadSettings({ file: options.config, env, cwd });
  const settings =
    options.to === undefined ? loaded.settings : redirected(loaded.settings, options.to);
  const { planned, tooLarge } = plan(settings, options, true);
  const attempt = attemptsWith(systemClock, stop);
  const screen = screenOf(context);
  let accepted = 0;
  for (const each of planned) {
    if (stop.aborted) break;
    const { url, request } = requestText(each, systemClock.nowMs());
    if (!options.json) {
      const { paint } = screen;
      const line = paint('cyan', `${request.method} ${url}`);
      stdout.write(
        `${paint('bold', headline(each))}\n  ${line}\n  webhook-id: ${each.delivery.id}\n`,
      );
    }
    const attempted = await attempt(each);
    stdout.write(options.json ? jsonLine(each, url, attempted) : textOf(each, attempted, screen));
    if (attempted.outcome.kind === 'accepted') accepted += 1;
  }
  warnTooLarge(context, tooLarge);
  const missing = planned.length + tooLarge.length - accepted;
  if (missing === 0) return 0;
  const all = planned.length + tooLarge.length;
  stderr.write(`expiry-relay: ${missing} of ${all} test webhooks not accepted\n`);
  return 1;
};

/**
 * Sends everything to one URL, signed as before. What is meant for the endpoint's own server stays here: headers,
 * client certificates and the proxy.
 */
function redirected(settings: Settings, to: string): Settings {
  const reading = readEndpointUrl(to);
  if (!reading.ok) throw new UsageError('--to: expected a URL such as http://127.0.0.1:3000/hooks');
  const endpoints = Array.from(settings.endpoints, ([name, endpoint]) => {
    const own = { url: reading.value, headers: {}, tls: null, proxy: null };
    return [name, { ...endpoint, ...own }] as const;
  });
  return { ...settings, endpoints: new Map(endpoints) };
}

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
    const outcome = await outcomeOf(sender, request);
    const tookMs = clock.monotonicMs() - beganAtMs;
    stop.removeEventListener('abort', breakOff);
    await sender.close();
    return { outcome, tookMs };
  };
}

/** Programs depend on these names. */
function jsonLine({ delivery, endpoint }: Planned, url: string, attempted: Attempted): string {
  const { outcome, tookMs } = attempted;
  const isResponse = outcome.kind === 'accepted' || outcome.kind === 'rejected';
  return `${printableJson({
    route: delivery.route,
    endpoint: delivery.endpoint,
    webhook_id: delivery.id,
    method: delivery.method,
    url,
    outcome: outcome.kind,
    status: isResponse ? outcome.status : null,
    response_body: isResponse ? outcome.answer : null,
    duration_ms: Math.round(tookMs),
    error: isResponse ? null : outcome.detail,
    advice: adviceOf(outcome, endpoint),
  })}\n`;
}

const INDENT = '  ';

function textOf({ endpoint }: Planned, { outcome, tookMs }: Attempted, screen: Screen): string {
  const { width, paint } = screen;
  const advice = adviceOf(outcome, endpoint);
  const color = outcome.kind === 'accepted' ? 'green' : 'red';
  const lines = [
    ...wrap(resultText(outcome, tookMs, endpoint), width - INDENT.length).map((line) =>
      paint(color, line),
    ),
    ...bodyOf(outcome),
    ...(advice === null ? [] : adviceLines(advice, width - INDENT.length)),
  ];
  return lines.map((line) => `${INDENT}${line}\n`).join('');
}

function resultText(
  outcome: Outcome | Prevented,
  tookMs: number,
  { accept }: Pick<Endpoint, 'accept'>,
): string {
  const length = lengthText(tookMs);
  switch (outcome.kind) {
    case 'accepted':
      return `accepted with ${outcome.status} after ${length}`;
    case 'rejected':
      return `rejected with ${outcome.status} after ${length} (expected ${['2xx', ...accept].join(', ')})`;
    case 'prevented':
      return `not sent: ${outcome.detail}`;
    case 'unreachable':
      return `failed after ${length} (${outcome.reason}): ${outcome.detail}`;
  }
}

/** The start of the response body, if there is one. */
function bodyOf(outcome: Outcome | Prevented): readonly string[] {
  if (outcome.kind !== 'accepted' && outcome.kind !== 'rejected') return [];
  return outcome.answer === '' ? [] : [outcome.answer];
}

/** Null when the result explains itself. */
function adviceOf(outcome: Outcome | Prevented, endpoint: Planned['endpoint']): string | null {
  switch (outcome.kind) {
    case 'accepted':
      return null;
    case 'rejected':
      return adviceOnStatus(outcome);
    case 'prevented':
      return preventionAdvice(outcome);
    case 'unreachable':
      return adviceFor(outcome, endpoint);
  }
}

function adviceOnStatus({ status, location }: Outcome & { readonly kind: 'rejected' }) {
  if (status === STATUS_GONE) return 'the relay would disable this endpoint until a reload';
  if (status >= 400) return rejectionAdvice(status);
  const where = location === null ? '' : ` (location: ${location})`;
  return `redirects are not followed: correct the URL${where}`;
}

function rejectionAdvice(status: number): string {
  switch (status) {
    case 401:
    case 403:
      return 'check that the receiver has the same secret, and the headers of the endpoint';
    case 404:
    case 405:
      return 'check the URL of the endpoint, and the path and the method of the route';
    default:
      return "check the receiver's log";
  }
}
