/**
 * How the outbox lies in Redis: the names of its keys, and the bytes of a delivery. This file alone
 * knows. `1` in the names is the version: a change that an older relay could not read gets another.
 *
 *   {expiry-relay}:1:outbox:<endpoint>:deliveries   hash    id → delivery, until done or dead
 *   {expiry-relay}:1:outbox:<endpoint>:ready        stream  id, attempts made; group `relay`
 *   {expiry-relay}:1:outbox:<endpoint>:waiting      zset    <attempts made>:<id>, by not-before
 *   {expiry-relay}:1:outbox:<endpoint>:dead         hash    id → dead letter
 *   {expiry-relay}:1:outbox:<endpoint>:dead-order   zset    id, by time of death
 *   {expiry-relay}:1:replica:<name>                 string  there as long as the replica lives
 *
 * The tag in braces puts all of them into one slot of a cluster. Times are milliseconds by the
 * clock of this Redis. A delivery is one line of JSON, a line feed, and the body's exact bytes; a
 * dead letter is the same with three more members in the line.
 */
import type { DeadLetter, DeadReason, Delivery, DetectedBy } from '../vocabulary.js';

const VERSION = 1;

/** A replica that has not been heard of for so long is dead. */
export const DEAD_AFTER_MS = 10_000;

/** The name of the consumer group on every `ready` stream. */
export const GROUP = 'relay';

export interface EndpointKeys {
  readonly deliveries: string;
  readonly ready: string;
  readonly waiting: string;
  readonly dead: string;
  readonly deadOrder: string;
}

/** What every key of the relay's own begins with. */
export function ownKeyPrefix(prefix: string): string {
  return `{${prefix}}:`;
}

/** The keys of one endpoint's part; `prefix` is `state.prefix`. */
export function endpointKeys(prefix: string, endpoint: string): EndpointKeys {
  const base = `${ownKeyPrefix(prefix)}${VERSION}:outbox:${endpoint}`;
  return {
    deliveries: `${base}:deliveries`,
    ready: `${base}:ready`,
    waiting: `${base}:waiting`,
    dead: `${base}:dead`,
    deadOrder: `${base}:dead-order`,
  };
}

/** The key that is there as long as the replica lives. */
export function replicaKey(prefix: string, replica: string): string {
  return `${ownKeyPrefix(prefix)}${VERSION}:replica:${replica}`;
}

interface DeliveryHead {
  readonly id: string;
  readonly endpoint: string;
  readonly route: string;
  readonly path: string;
  readonly key: string;
  readonly database: number;
  readonly expired_at_ms: number | null;
  readonly detected_at_ms: number;
  readonly detected_by: DetectedBy;
}

interface DeathHead {
  readonly reason: DeadReason;
  readonly attempts: number;
  readonly died_at_ms: number;
}

function headOf(delivery: Delivery): DeliveryHead {
  return {
    id: delivery.id,
    endpoint: delivery.endpoint,
    route: delivery.route,
    path: delivery.path,
    key: delivery.keyLabel,
    database: delivery.database,
    expired_at_ms: delivery.expiredAtMs,
    detected_at_ms: delivery.detectedAtMs,
    detected_by: delivery.detectedBy,
  };
}

const LINE_FEED = 0x0a;

function pack(head: object, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]);
}

function unpack<Head>(packed: Buffer): { head: Head; body: Buffer } {
  const end = packed.indexOf(LINE_FEED);
  const head = JSON.parse(packed.toString('utf8', 0, end)) as Head;
  return { head, body: packed.subarray(end + 1) };
}

function deliveryOf(head: DeliveryHead, body: Buffer): Delivery {
  return {
    id: head.id,
    endpoint: head.endpoint,
    route: head.route,
    path: head.path,
    body,
    keyLabel: head.key,
    database: head.database,
    expiredAtMs: head.expired_at_ms,
    detectedAtMs: head.detected_at_ms,
    detectedBy: head.detected_by,
  };
}

export function packDelivery(delivery: Delivery): Buffer {
  return pack(headOf(delivery), delivery.body);
}

export function unpackDelivery(packed: Buffer): Delivery {
  const { head, body } = unpack<DeliveryHead>(packed);
  return deliveryOf(head, body);
}

export function packDeadLetter({ delivery, reason, attempts, diedAtMs }: DeadLetter): Buffer {
  const death: DeathHead = { reason, attempts, died_at_ms: diedAtMs };
  return pack({ ...headOf(delivery), ...death }, delivery.body);
}

export function unpackDeadLetter(packed: Buffer): DeadLetter {
  const { head, body } = unpack<DeliveryHead & DeathHead>(packed);
  return {
    delivery: deliveryOf(head, body),
    reason: head.reason,
    attempts: head.attempts,
    diedAtMs: head.died_at_ms,
  };
}

/** A member of `waiting`; `attempts` have been made. */
export function waitingMember(id: string, attempts: number): string {
  return `${attempts}:${id}`;
}
