/**
 * Standard Webhooks signatures, made and checked: `v1` (HMAC-SHA256, `whsec_…`) and `v1a` (ed25519,
 * `whsk_…`, checked with `whpk_…`). Pure.
 * Source: the Standard Webhooks specification, section "Signature scheme".
 */
import {
  createHmac,
  type KeyObject,
  sign as signWith,
  timingSafeEqual,
  verify as verifyWith,
} from 'node:crypto';
import type { Secret } from '../model/secret.js';
import {
  PRIVATE_KEY_PREFIX,
  PUBLIC_KEY_PREFIX,
  privateKeyOf,
  publicKeyOf,
  publicKeyText,
  SEED_BYTES,
} from './key-pair.js';

export const SECRET_PREFIX = 'whsec_';

/** The specification's limits for a secret's length. */
export const SECRET_BYTES_MIN = 24;
export const SECRET_BYTES_MAX = 64;

/** Receivers reject timestamps that differ by more than this from their clock. */
export const TIMESTAMP_TOLERANCE_S = 5 * 60;

export interface SignedHeaders {
  readonly 'webhook-id': string;
  /** The time of this attempt, in Unix seconds. */
  readonly 'webhook-timestamp': string;
  /**
   * `v1,<base64>` or `v1a,<base64>` for each secret, separated by spaces, all `v1` first; absent for an unsigned
   * webhook.
   */
  readonly 'webhook-signature'?: string;
}

/** A parsed secret: an HMAC key, or half of a key pair. */
type Key =
  | { readonly version: 'v1'; readonly hmac: Buffer }
  | { readonly version: 'v1a'; readonly pair: KeyObject };

/** Decoded once, because every attempt needs the key. */
const keys = new WeakMap<Secret, Key>();

function decode(text: string): Key {
  const bytesAfter = (prefix: string) => Buffer.from(text.slice(prefix.length), 'base64');
  if (text.startsWith(PRIVATE_KEY_PREFIX)) {
    const seed = bytesAfter(PRIVATE_KEY_PREFIX).subarray(0, SEED_BYTES);
    return { version: 'v1a', pair: privateKeyOf(seed) };
  }
  if (text.startsWith(PUBLIC_KEY_PREFIX)) {
    return { version: 'v1a', pair: publicKeyOf(bytesAfter(PUBLIC_KEY_PREFIX)) };
  }
  return { version: 'v1', hmac: bytesAfter(SECRET_PREFIX) };
}

function keyOf(secret: Secret): Key {
  let key = keys.get(secret);
  if (key === undefined) {
    key = decode(secret.reveal());
    keys.set(secret, key);
  }
  return key;
}

function signedHead(id: string, timestampS: string): string {
  return `${id}.${timestampS}.`;
}

function hmacSignature(hmac: Buffer, head: string, body: Uint8Array): string {
  return `v1,${createHmac('sha256', hmac).update(head).update(body).digest('base64')}`;
}

function signature(secret: Secret, head: string, body: Uint8Array): string {
  const key = keyOf(secret);
  if (key.version === 'v1') return hmacSignature(key.hmac, head, body);
  const signed = Buffer.concat([Buffer.from(head), body]);
  return `v1a,${signWith(null, signed, key.pair).toString('base64')}`;
}

/** Puts `v1` first for receivers that support only `v1` and read only the first signature. */
function symmetricFirst(one: Secret, other: Secret): number {
  const rank = (secret: Secret) => (keyOf(secret).version === 'v1' ? 0 : 1);
  return rank(one) - rank(other);
}

/** The headers that let a receiver verify `body`. `nowMs`: the time of this attempt. */
export function sign(
  id: string,
  body: Uint8Array,
  secrets: readonly Secret[],
  nowMs: number,
): SignedHeaders {
  const timestampS = String(Math.floor(nowMs / 1000));
  if (secrets.length === 0) return { 'webhook-id': id, 'webhook-timestamp': timestampS };
  const head = signedHead(id, timestampS);
  const ordered = secrets.length === 1 ? secrets : secrets.toSorted(symmetricFirst);
  const signatures = ordered.map((secret) => signature(secret, head, body)).join(' ');
  return { 'webhook-id': id, 'webhook-timestamp': timestampS, 'webhook-signature': signatures };
}

/** `whpk_…` of each asymmetric secret: the public key for receivers. */
export function publicKeysOf(secrets: readonly Secret[]): string[] {
  return secrets.flatMap((secret) => {
    const key = keyOf(secret);
    return key.version === 'v1a' ? [publicKeyText(key.pair)] : [];
  });
}

/** The result of verifying a webhook. */
export type Verdict =
  | 'verified'
  /** No secret to verify with. */
  | 'no_secret'
  | 'missing_headers'
  | 'timestamp_out_of_tolerance'
  | 'wrong_signature';

export interface ReceivedHeaders {
  readonly id: string | undefined;
  readonly timestamp: string | undefined;
  readonly signature: string | undefined;
}

/** Whether one of the received signatures was made with this secret; compares in constant time. */
function isSignedWith(
  secret: Secret,
  offered: readonly string[],
  head: string,
  body: Uint8Array,
): boolean {
  const key = keyOf(secret);
  if (key.version === 'v1') {
    const expected = Buffer.from(hmacSignature(key.hmac, head, body));
    return offered
      .map((text) => Buffer.from(text))
      .some((found) => found.length === expected.length && timingSafeEqual(found, expected));
  }
  const signed = Buffer.concat([Buffer.from(head), body]);
  return offered.some((text) => {
    const [version, base64 = ''] = text.split(',');
    return version === 'v1a' && verifyWith(null, signed, key.pair, Buffer.from(base64, 'base64'));
  });
}

/** Verifies a received webhook against any of `secrets`, which may include `whpk_…`. */
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
  const offered = received.signature.split(' ');
  const head = signedHead(id, timestamp);
  const matches = secrets.some((secret) => isSignedWith(secret, offered, head, body));
  return matches ? 'verified' : 'wrong_signature';
}
