/**
 * The quarantine of foreign entries (written by no relay): other clients of the state Redis may write anything, which
 * must affect nothing else. A reader moves a foreign entry here, and continues. The number and size of the records are
 * limited.
 */
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { RedisReplyError } from '../model/errors.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import { nameInQuarantine, quarantineKey, typedKeys } from './format.js';
import { QUARANTINE_SCRIPTS } from './quarantine-scripts.js';
import { isWhole } from './stored.js';

/** Entries that one script moves, keys that one script checks, and records read at a time. */
const BATCH = 100;

/** A related entry, removed together with a quarantined one. */
export interface Related {
  readonly key: string;
  readonly kind: 'member' | 'field' | 'entry';
  readonly name: string | Buffer;
}

/** A foreign entry, as it was read. */
export interface Suspect {
  readonly key: string;
  /** A member of a sorted set, a field of a hash, or a whole string. */
  readonly kind: 'member' | 'field' | 'string';
  /** The member or field; empty for a string. */
  readonly name: string | Buffer;
  /** The value; for a member, its score. */
  readonly value: string | Buffer;
  /** The problem, in a few words. */
  readonly reason: string;
  readonly related: Related | null;
}

/** A record. Any part of it may come from other clients. */
export interface QuarantinedEntry {
  readonly id: string;
  /** The number of this record among all ever made. */
  readonly number: number;
  /** When the entry was moved, by the clock of the state Redis. */
  readonly atMs: number;
  readonly key: string;
  readonly kind: string;
  readonly reason: string;
  /** The entry's name; for a whole key, its new name. */
  readonly name: Buffer;
  /** The original size of the value. */
  readonly bytes: number;
  /** The start of the value. */
  readonly value: Buffer;
}

/** The size of the quarantine. */
export interface QuarantineDepth {
  readonly entries: number;
  /** The latest record; null: none. */
  readonly last: QuarantinedEntry | null;
}

type StreamEntry = [id: Buffer, fields: Buffer[]];

export class Quarantine {
  readonly #redis: Redis;
  readonly #prefix: string;
  readonly #scripts: Scripts<typeof QUARANTINE_SCRIPTS>;
  #moved = 0;

  constructor(redis: Redis, prefix: string) {
    this.#redis = redis;
    this.#prefix = prefix;
    this.#scripts = defineScripts(redis, QUARANTINE_SCRIPTS);
  }

  /** The number of entries and keys that this process has moved, except within scripts. */
  get moved(): number {
    return this.#moved;
  }

  /** Moves each entry in one atomic step; an entry that has changed since it was read stays. */
  async move(suspects: readonly Suspect[]): Promise<void> {
    for (let from = 0; from < suspects.length; from += BATCH) {
      const keys = [quarantineKey(this.#prefix)];
      const placeOf = (key: string) => {
        if (!keys.includes(key)) keys.push(key);
        return keys.indexOf(key) + 1;
      };
      const args = suspects
        .slice(from, from + BATCH)
        .flatMap(({ key, kind, name, value, reason, related }) => [
          ...[placeOf(key), kind, name, kind === 'member' ? value : sha1Of(value), reason],
          ...(related === null ? [0, '', ''] : [placeOf(related.key), related.kind, related.name]),
        ]);
      this.#moved += Number(await this.#scripts.quarantineMove(keys, args));
    }
  }

  /** Renames keys of the wrong type, or deletes them where RENAME is not allowed; rejects when Redis does neither. */
  async renameWrongTypes(
    databases: readonly number[],
    endpoints: readonly string[],
  ): Promise<void> {
    const all = typedKeys(this.#prefix, databases, endpoints);
    for (let from = 0; from < all.length; from += BATCH) {
      const typed = all.slice(from, from + BATCH);
      const keys = typed.flatMap(([key]) => [key, nameInQuarantine(this.#prefix, key)]);
      const reply = await this.#scripts.quarantineRename(
        [quarantineKey(this.#prefix), ...keys],
        typed.map(([, type]) => type),
      );
      if (Array.isArray(reply)) {
        const [key, error] = reply.map(String);
        throw new RedisReplyError(
          `the key ${key} has another type than the relay uses, and can neither be renamed nor deleted (${error}). ` +
            "Delete it, or grant the relay's user +rename and +unlink",
        );
      }
      this.#moved += Number(reply);
    }
  }

  async depth(): Promise<QuarantineDepth> {
    const [entries, [last]] = await Promise.all([
      this.#redis.xlen(quarantineKey(this.#prefix)),
      this.latest(1),
    ]);
    return { entries, last: last ?? null };
  }

  /** The latest records, oldest first. */
  async latest(countMax: number): Promise<readonly QuarantinedEntry[]> {
    const key = quarantineKey(this.#prefix);
    const found = await this.#redis.xrevrangeBuffer(key, '+', '-', 'COUNT', countMax);
    return recordsOf(found as StreamEntry[]).reverse();
  }

  /** Up to `countMax` records after `id`, oldest first; `0-0` starts at the beginning. */
  async after(id: string, countMax = BATCH): Promise<readonly QuarantinedEntry[]> {
    const key = quarantineKey(this.#prefix);
    const found = await this.#redis.xrangeBuffer(key, `(${id}`, '+', 'COUNT', countMax);
    return recordsOf(found as StreamEntry[]);
  }

  /** Null: no such record. */
  async find(id: string): Promise<QuarantinedEntry | null> {
    const found = await this.#redis.xrangeBuffer(quarantineKey(this.#prefix), id, id);
    return recordsOf(found as StreamEntry[])[0] ?? null;
  }

  /** Deletes a record permanently, with the renamed key that it is about. False: no such record. */
  async drop({ id, kind, name }: QuarantinedEntry): Promise<boolean> {
    const own = quarantineKey(this.#prefix);
    if (kind === 'key' && name.toString().startsWith(`${own}:`)) await this.#redis.unlink(name);
    return (await this.#redis.xdel(own, id)) === 1;
  }
}

function sha1Of(value: string | Buffer): string {
  return createHash('sha1').update(value).digest('hex');
}

function recordsOf(entries: readonly StreamEntry[]): QuarantinedEntry[] {
  return entries.map(([id, words]) => {
    const fields = new Map<string, Buffer>();
    for (let at = 0; at + 1 < words.length; at += 2) {
      fields.set(String(words[at]), words[at + 1] as Buffer);
    }
    const bytesOf = (name: string) => fields.get(name) ?? Buffer.alloc(0);
    const numberOf = (name: string) => {
      const number = Number(bytesOf(name).toString());
      return isWhole(number) ? number : 0;
    };
    return {
      id: id.toString(),
      number: numberOf('n'),
      atMs: Number(id.toString().split('-')[0]),
      key: bytesOf('key').toString(),
      kind: bytesOf('kind').toString(),
      reason: bytesOf('reason').toString(),
      name: bytesOf('name'),
      bytes: numberOf('bytes'),
      value: bytesOf('value'),
    };
  });
}
