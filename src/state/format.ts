/**
 * The format of the state in Redis: the names of its keys, which only this file knows. packing.ts has the bytes of a
 * delivery. The number in the names is the version of the format. A change that an older relay could not read gets
 * another version. `format` holds the version that a prefix is used with.
 *
 *   {expiry-relay}:format                           string  the version of the format
 *   {expiry-relay}:marker                           string  in every watched database
 *   {expiry-relay}:canary:<token>:<try>             string  in every watched database, for 100 ms; named by source/canary.ts
 *   {expiry-relay}:server                           string  identity of the watched server, in its database 0
 *   {expiry-relay}:1:watched                        hash    id, run_id, address of the watched server
 *   {expiry-relay}:1:lease                          hash    token, generation, renewals, renewed_at, number, digest, endpoints; numbers;
 *                                                           batch:<writer>: token and number of the last batch stored
 *   {expiry-relay}:1:configurations                 hash    replica → number, digest, since (-1: cannot capture), looks
 *   {expiry-relay}:1:watch                          string  the lease's token, for relays of version 0.1
 *   {expiry-relay}:1:settled                        string  the watermark: a mark, and the number of the holder's
 *                                                           configuration
 *   {expiry-relay}:1:captured                       zset    <database>:<name>:<key>, by the time at which the
 *                                                           expiration was detected; capture/sequence.ts has the names
 *   {expiry-relay}:1:claimed                        zset    <database>:<key>, by when its expiration was detected: of
 *                                                           relays of version 0.1
 *   {expiry-relay}:1:endpoints                      zset    name, by when a running replica last had it
 *   {expiry-relay}:1:deadlines:<database>:tracked   zset    key, by deadline
 *   {expiry-relay}:1:deadlines:<database>:overdue   zset    key about to be nudged, or nudged, by deadline
 *   {expiry-relay}:1:deadlines:<database>:unrouted  zset    key that expired, and that no route of the replica that found
 *                                                           it matches, by deadline
 *   {expiry-relay}:1:values:<database>:read         hash    key → the reading of its value
 *   {expiry-relay}:1:values:<database>:deadlines    zset    key, by the deadline that was read with it
 *   {expiry-relay}:1:replicas                       zset    name, by its last sign of life
 *   {expiry-relay}:1:gone                           hash    <replica>:<endpoint> that has answered it 410 → host:pid
 *   {expiry-relay}:1:outbox:<endpoint>:deliveries   hash    id → delivery, until done or dead
 *   {expiry-relay}:1:outbox:<endpoint>:ready        stream  id, attempts, due, replayed; group `relay`
 *   {expiry-relay}:1:outbox:<endpoint>:waiting      zset    <attempts made>:<id>, by not-before
 *   {expiry-relay}:1:outbox:<endpoint>:waits        hash    member of `waiting` → its wait, in milliseconds
 *   {expiry-relay}:1:outbox:<endpoint>:attempts     hash    id of a delivery that is retried → its failed attempts:
 *                                                           [started at, duration, "outcome"], …, the oldest first
 *   {expiry-relay}:1:outbox:<endpoint>:throttle     hash    until, length: the endpoint's last `Retry-After`;
 *                                                           paused_at, paused_by, paused_for: an operator's pause
 *   {expiry-relay}:1:outbox:<endpoint>:breaker      hash    of relays of version 0.1; maintenance deletes it
 *   {expiry-relay}:1:outbox:<endpoint>:dead         hash    id → dead letter
 *   {expiry-relay}:1:outbox:<endpoint>:dead-order   zset    id, by time of death
 *   {expiry-relay}:1:quarantine                     stream  records of entries that no relay has written, and
 *                                                           that were removed: n, key, kind, reason, name, bytes, value
 *   {expiry-relay}:1:quarantine:<key>               any     a key of the wrong type, renamed; <key> is its name
 *                                                           without the part before `1:`
 *
 * In the primaries of redis.cluster, marker and canary are `expiry-relay:{<tag>}:marker` and
 * `expiry-relay:{<tag>}:canary:…`: the tag's slot is the first one of the primary (redis/slots.ts).
 *
 * The tag in braces puts all keys into one slot of a cluster. `marker`, `canary` and `server` are in the watched
 * Redis, the other keys in the state Redis. `{expiry-relay}:marks` is a channel of the watched Redis, and holds nothing. Times are in milliseconds. Deadlines, `captured` and
 * `claimed` use the clock of the watched Redis; all other times use the clock of the state Redis. Either
 * clock may be set at any time. No wait exceeds its scheduled length. A replica counts as dead when its
 * sign of life has stopped changing. An entry of `ready` holds the number of attempts made, the time since
 * which it has been due, and whether it was a dead letter. Entries of older relays have no `due`: they are
 * due since the time of their id. A claimed entry is deleted when its claim ends: a replica that finds its
 * entry gone has lost the claim. A delivery is one line of JSON, a line feed, and the exact bytes of the
 * body. A dead letter has another line of JSON in front of its delivery. A delivery that names no method
 * or content type is a POST of JSON.
 *
 * Every client of this Redis can write to these keys. Each reader checks what it reads, moves an entry that
 * no relay can have written to the quarantine, and goes on (quarantine.ts). Every delivery has one entry in
 * `ready` or `waiting`, and every dead letter one in `dead-order`: maintenance restores those that are missing.
 */
import type { KeyInDatabase } from '../model/vocabulary.js';

export const FORMAT_VERSION = 1;

/** A replica whose last sign of life another one has seen unchanged for so long is dead. */
export const DEAD_AFTER_MS = 10_000;

/** A time that lies further ahead is by a clock that has been set back since. */
const AHEAD_MS_MAX = 5 * 60 * 1_000;

/** The range of signs of life that count as recent, for a process that reads them only once. */
export function signsOfLife(nowMs: number): { readonly fromMs: number; readonly untilMs: number } {
  return { fromMs: nowMs - DEAD_AFTER_MS, untilMs: nowMs + AHEAD_MS_MAX };
}

/**
 * Attempts recorded for each delivery, the latest ones: more than `retry.schedule` has by default. They take about 700
 * bytes.
 */
export const HISTORY_MAX = 20;

/** The name of the consumer group on every `ready` stream. */
export const GROUP = 'relay';

export interface EndpointKeys {
  readonly deliveries: string;
  readonly ready: string;
  readonly waiting: string;
  readonly waits: string;
  readonly attempts: string;
  readonly throttle: string;
  readonly dead: string;
  readonly deadOrder: string;
}

/** What every key of the relay's own begins with. */
export function ownKeyPrefix(prefix: string): string {
  return `{${prefix}}:`;
}

/** What the relay's keys begin with that lie in a slot of each primary of a cluster. */
export function taggedKeyPrefix(prefix: string): string {
  return `${prefix}:{`;
}

/** Where the keys of the relay's own are in this slot; `tag` is a hash tag of the slot. */
export function ownKeyPrefixIn(prefix: string, tag: string): string {
  return `${taggedKeyPrefix(prefix)}${tag}}:`;
}

/** The keys of one endpoint's part; `prefix` is `state.prefix`. */
export function endpointKeys(prefix: string, endpoint: string): EndpointKeys {
  const base = outboxBase(prefix, endpoint);
  return {
    deliveries: `${base}:deliveries`,
    ready: `${base}:ready`,
    waiting: `${base}:waiting`,
    waits: `${base}:waits`,
    attempts: `${base}:attempts`,
    throttle: `${base}:throttle`,
    dead: `${base}:dead`,
    deadOrder: `${base}:dead-order`,
  };
}

/** The key in which relays of version 0.1 keep the circuit breaker of an endpoint. */
export function breakerKey(prefix: string, endpoint: string): string {
  return `${outboxBase(prefix, endpoint)}:breaker`;
}

function outboxBase(prefix: string, endpoint: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:outbox:${endpoint}`;
}

/** The keys of one database's part of the index of deadlines. */
export function deadlineKeys(
  prefix: string,
  database: number,
): { readonly tracked: string; readonly overdue: string } {
  const base = deadlinesBase(prefix, database);
  return { tracked: `${base}:tracked`, overdue: `${base}:overdue` };
}

/** The key of one database's expirations that another configuration may have a route for. */
export function unroutedKey(prefix: string, database: number): string {
  return `${deadlinesBase(prefix, database)}:unrouted`;
}

function deadlinesBase(prefix: string, database: number): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:deadlines:${database}`;
}

/** The keys of one database's part of the values that were read. */
export function valueKeys(
  prefix: string,
  database: number,
): { readonly read: string; readonly deadlines: string } {
  const base = `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:values:${database}`;
  return { read: `${base}:read`, deadlines: `${base}:deadlines` };
}

/** The key that says which version of this format a prefix is used by. */
export function formatKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}format`;
}

/** In database 0 of the watched server, beside the keys that expire: which server that is. */
export function serverKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}server`;
}

/** The channel of the watched server on which the lease holder publishes marks. */
export function marksChannel(prefix: string): string {
  return `${ownKeyPrefix(prefix)}marks`;
}

/** The key that identifies the server whose keys the state is about. */
export function watchedKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:watched`;
}

/** The key of the lease. */
export function leaseKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:lease`;
}

/** The field of the lease with the last batch that a writer of the outbox has stored. */
export function batchField(writer: string): string {
  return `batch:${writer}`;
}

/** The key of the replicas that run, and their configurations. */
export function configurationsKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:configurations`;
}

/** A row of `configurations`; null for what no relay has written. */
export function readConfigurationRow(
  text: string,
): { readonly number: number; readonly digest: string } | null {
  const [, number, digest] = /^(\d+) ([0-9a-f]+) -?\d+ \d+$/.exec(text) ?? [];
  return digest === undefined ? null : { number: Number(number), digest };
}

/** The key by which relays of version 0.1 know the lease: they leave a lease that stands there alone. */
export function watchKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:watch`;
}

/** The key of the watermark: the mark before which all events are captured or written to the index. */
export function watermarkKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:settled`;
}

/** The key of the names of recently captured expirations. */
export function capturedKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:captured`;
}

/** A member of `captured`; a name contains no colon. */
export function capturedMember({ database, key }: KeyInDatabase, name: string): Buffer {
  return Buffer.concat([Buffer.from(capturedMemberStart(database, name)), key]);
}

/** A member of `captured` before its key. */
export function capturedMemberStart(database: number, name: string): string {
  return `${database}:${name}:`;
}

/** Parses a member of `captured`; null if no relay can have written it. */
export function readCapturedMember(
  member: Buffer,
): (KeyInDatabase & { readonly name: string }) | null {
  const first = member.indexOf(':');
  const second = member.indexOf(':', first + 1);
  const database = member.subarray(0, Math.max(0, first)).toString();
  if (!/^\d+$/.test(database) || second < 0) return null;
  const name = member.subarray(first + 1, second).toString();
  return { database: Number(database), name, key: member.subarray(second + 1) };
}

/** The key of the expirations that relays of version 0.1 captured recently. */
export function claimedKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:claimed`;
}

/** A member of `claimed`. */
export function claimedMember({ database, key }: KeyInDatabase): Buffer {
  return Buffer.concat([Buffer.from(`${database}:`), key]);
}

/** The key of the endpoints that the running replicas have. */
export function endpointsKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:endpoints`;
}

/** The key of the replicas that live, or lately did. */
export function replicasKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:replicas`;
}

/** The key of the endpoints that answered 410, by replica; entries of dead replicas are ignored. */
export function goneKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:gone`;
}

/** A field of `gone`: a replica's name holds no colon. */
export function goneField(replica: string, endpoint: string): string {
  return `${replica}:${endpoint}`;
}

/** Of a field of `gone`. */
export function readGoneField(field: string): { replica: string; endpoint: string } {
  const colon = field.indexOf(':');
  return { replica: field.slice(0, colon), endpoint: field.slice(colon + 1) };
}

/** A member of `waiting`; `attempts` have been made. */
export function waitingMember(id: string, attempts: number): string {
  return `${attempts}:${id}`;
}

/** The key of the records of entries that no relay has written. */
export function quarantineKey(prefix: string): string {
  return `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:quarantine`;
}

/** What a key of the wrong type is renamed to. */
export function nameInQuarantine(prefix: string, key: string): string {
  const base = `${ownKeyPrefix(prefix)}${FORMAT_VERSION}:`;
  return `${quarantineKey(prefix)}:${key.slice(base.length)}`;
}

/** A type of Redis's, as TYPE names it. */
export type KeyType = 'string' | 'hash' | 'zset' | 'stream';

/** The keys in the state Redis, and the type of each; `format` says whose the others are, and is not among them. */
export function typedKeys(
  prefix: string,
  databases: readonly number[],
  endpoints: readonly string[],
): readonly (readonly [key: string, type: KeyType])[] {
  return [
    [watchedKey(prefix), 'hash'],
    [leaseKey(prefix), 'hash'],
    [configurationsKey(prefix), 'hash'],
    [watchKey(prefix), 'string'],
    [watermarkKey(prefix), 'string'],
    [capturedKey(prefix), 'zset'],
    [claimedKey(prefix), 'zset'],
    [endpointsKey(prefix), 'zset'],
    [replicasKey(prefix), 'zset'],
    [goneKey(prefix), 'hash'],
    ...databases.flatMap((database): [string, KeyType][] => {
      const { tracked, overdue } = deadlineKeys(prefix, database);
      const { read, deadlines } = valueKeys(prefix, database);
      return [
        ...[tracked, overdue, deadlines].map((key): [string, KeyType] => [key, 'zset']),
        [unroutedKey(prefix, database), 'zset'],
        [read, 'hash'],
      ];
    }),
    ...endpoints.flatMap((endpoint): [string, KeyType][] => {
      const keys = endpointKeys(prefix, endpoint);
      return [
        [keys.ready, 'stream'],
        ...[keys.waiting, keys.deadOrder].map((key): [string, KeyType] => [key, 'zset']),
        ...[keys.deliveries, keys.waits, keys.attempts, keys.throttle, keys.dead].map(
          (key): [string, KeyType] => [key, 'hash'],
        ),
      ];
    }),
  ];
}
