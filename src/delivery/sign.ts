/**
 * Standard Webhooks signatures (the `v1` scheme: HMAC-SHA256), made and checked. Pure.
 * Source: the Standard Webhooks specification, section "Signature scheme".
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../secret.js';

export const SECRET_PREFIX = 'whsec_';

/** The specification's bounds for a secret's bytes. */
export const SECRET_BYTES_MIN = 24;
export const SECRET_BYTES_MAX = 64;

/** Receivers refuse a webhook whose timestamp is further than this from their clock. */
export const TIMESTAMP_TOLERANCE_S = 5 * 60;

export interface SignedHeaders {
  readonly 'webhook-id': string;
  /** Unix seconds of this attempt. */
  readonly 'webhook-timestamp': string;
  /** `v1,<base64>`, one for each secret, one space between; absent for an unsigned webhook. */
  readonly 'webhook-signature'?: string;
}

/** Decoded once: every attempt needs it. */
const keys = new WeakMap<Secret, Buffer>();

/** The HMAC key inside `whsec_<base64>`. */
function keyOf(secret: Secret): Buffer {
  let key = keys.get(secret);
  if (key === undefined) {
    key = Buffer.from(secret.reveal().slice(SECRET_PREFIX.length), 'base64');
    keys.set(secret, key);
  }
  return key;
}

function signature(secret: Secret, id: string, timestampS: string, body: Uint8Array): string {
  const mac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestampS}.`).update(body);
  return `v1,${mac.digest('base64')}`;
}

/** The headers that let a receiver verify `body`. `nowMs` is the time of this attempt. */
export function sign(
  id: string,
  body: Uint8Array,
  secrets: readonly Secret[],
  nowMs: number,
): SignedHeaders {
  const timestampS = String(Math.floor(nowMs / 1000));
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestampS };
  if (secrets.length === 0) return headers;
  const signatures = secrets.map((secret) => signature(secret, id, timestampS, body));
  return { ...headers, 'webhook-signature': signatures.join(' ') };
}

/** What checking a webhook found. */
export type Verdict =
  | 'verified'
  /** Nothing to check with: no secret is known here. */
  | 'no_secret'
  | 'missing_headers'
  | 'timestamp_out_of_tolerance'
  | 'wrong_signature';

export interface ReceivedHeaders {
  readonly id: string | undefined;
  readonly timestamp: string | undefined;
  readonly signature: string | undefined;
}

/** Checks a received webhook against any of `secrets`; compares in constant time. */
export function verify(
  received: ReceivedHeaders,
  body: Uint8Array,
  secrets: readonly Secret[],
  nowMs: number,
): Verdict {
  if (secrets.length === 0) return 'no_secret';
  const { id, timestamp } = received;
  if (!id || !timestamp || !received.signature) return 'missing_headers';
  const ageS = Math.abs(nowMs / 1000 - Number(timestamp));
  if (!(ageS <= TIMESTAMP_TOLERANCE_S)) return 'timestamp_out_of_tolerance';
  const offered = received.signature.split(' ').map((text) => Buffer.from(text));
  const matches = secrets.some((secret) => {
    const expected = Buffer.from(signature(secret, id, timestamp, body));
    return offered.some(
      (candidate) => candidate.length === expected.length && timingSafeEqual(candidate, expected),
    );
  });
  return matches ? 'verified' : 'wrong_signature';
}
