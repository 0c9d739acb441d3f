/** Ready-made nouns; each test names only what it is about. */
import type { Endpoint } from '../../src/model/endpoint.js';
import { Secret } from '../../src/model/secret.js';
import type {
  CapturedExpiration,
  DeadReason,
  Delivery,
  Expiration,
  ExpiredEvent,
  FailedAttempt,
  FailureDisposition,
  Route,
} from '../../src/model/vocabulary.js';
import { NO_VALUES, type WebhookInput } from '../../src/payload/webhook-input.js';

/** Of 32 bytes; for tests alone. */
export const TEST_SECRET = 'whsec_dGVzdHMgYWxvbmUgdXNlIHRoaXMgc2VjcmV0ICEh';

export function anEndpoint(given: Partial<Endpoint> = {}): Endpoint {
  return {
    name: 'shop',
    url: new URL('http://127.0.0.1:9/hooks'),
    secrets: [new Secret(TEST_SECRET)],
    headers: {},
    timeoutMs: 1_000,
    concurrency: 4,
    rateLimit: null,
    retry: { scheduleMs: [1_000, 5_000], jitter: 0 },
    tls: null,
    proxy: null,
    accept: new Set<number>(),
    allowLinkLocal: false,
    ...given,
  };
}

export function aDelivery(given: Partial<Delivery> = {}): Delivery {
  return {
    id: 'msg_1',
    endpoint: 'shop',
    route: 'cancel',
    path: '',
    method: 'POST',
    contentType: 'application/json',
    body: Buffer.from('{"type":"redis.key.expired"}'),
    keyLabel: 'order:42:unpaid',
    database: 0,
    expiredAtMs: null,
    detectedAtMs: Date.parse('2026-11-22T06:00:10.003Z'),
    detectedBy: 'notification',
    ...given,
  };
}

/** An attempt that has just failed. */
export function aFailure(given: Partial<FailedAttempt> = {}): FailedAttempt {
  return { startedMs: performance.now(), durationMs: 12, outcome: 'HTTP 500', ...given };
}

/** A retry after an attempt that failed; times are monotonic. */
export function retryAt(notBeforeMs: number, failure = aFailure()): FailureDisposition {
  return { kind: 'retry', notBeforeMs, failure };
}

/** The end of a delivery; with the attempt that failed last, if one was made. */
export function deadOf(
  reason: DeadReason,
  failure: FailedAttempt | null = null,
): FailureDisposition & { readonly kind: 'dead' } {
  return { kind: 'dead', reason, lastOutcome: failure?.outcome ?? null, failure };
}

export function anExpiration(given: Partial<Expiration> = {}): Expiration {
  return {
    database: 0,
    key: Buffer.from('order:42:unpaid'),
    expiredAtMs: null,
    detectedAtMs: Date.parse('2026-11-22T06:00:10.003Z'),
    detectedBy: 'notification',
    ...given,
  };
}

export function aCapturedExpiration(given: Partial<CapturedExpiration> = {}): CapturedExpiration {
  const { database, key, detectedAtMs } = anExpiration();
  const names = ['run.1.1+0'];
  return { database, key, deadlineMs: null, detectedAtMs, names, ...given };
}

export function anExpiredEvent(given: Partial<ExpiredEvent> = {}): ExpiredEvent {
  const { database, key, detectedAtMs, detectedBy } = anExpiration();
  return { kind: 'expired', database, key, detectedAtMs, detectedBy, ...given };
}

export function aRoute(given: Partial<Route> = {}): Route {
  return {
    name: 'cancel',
    patterns: [],
    to: ['shop'],
    type: 'redis.key.expired',
    path: '',
    method: 'POST',
    format: { kind: 'standard' },
    maxAgeMs: null,
    onAmbiguous: 'deliver',
    includesValue: false,
    lookup: null,
    valueBytesMax: 16 * 1024,
    ...given,
  };
}

export function aWebhookInput(given: Partial<WebhookInput> = {}): WebhookInput {
  return {
    expiration: anExpiration(),
    route: aRoute(),
    params: {},
    isTest: false,
    ...NO_VALUES,
    ...given,
  };
}

/** What the API of the admin port needs, where a test is not about it. */
export const API_PARTS = {
  page: () => ({ enabled: true, readOnly: false, authorization: null, allowedHosts: [] }),
  reload: async () => ({ kind: 'applied', keys: [] }) as const,
};
