/**
 * Reads each key at the primary that has its slot. With one primary, everything goes to it. With several, a key that its
 * primary does not have, because its slot has moved or is moving, is read where it is. A key whose primary cannot be
 * asked now is `elsewhere`: nothing is known about it, and it is read again later.
 */
import type { IndexTrust } from '../deadlines/index-trust.js';
import type { Clock } from '../lib/clock.js';
import type { KeyInDatabase, KeyReading } from '../model/vocabulary.js';
import type { Command } from '../redis/command.js';
import { CLOCK_SLACK_MS } from '../redis/server-clock.js';
import type { ReadableKeys } from '../values/keeper.js';
import type { Owner, Owners } from './owners.js';

/** How long the keys of other primaries wait for one that does not respond. */
const PATIENCE_MS = 250;

export interface RoutedKeyspaceParts {
  readonly owners: Owners;
  readonly trust: Pick<IndexTrust, 'lose'>;
  /** Asks again which primary has which slots. Never rejects. */
  readonly refreshTopology: () => Promise<void>;
  readonly clock: Clock;
}

type Read = (owner: Owner, keys: readonly KeyInDatabase[]) => Promise<readonly KeyReading[]>;

export class RoutedKeyspace implements ReadableKeys {
  readonly #parts: RoutedKeyspaceParts;
  /** The primaries that have let a reading wait for too long. */
  readonly #silent = new Set<Owner>();

  constructor(parts: RoutedKeyspaceParts) {
    this.#parts = parts;
  }

  /** As `Keyspace.read`, on the connections of the sweeps. */
  read(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    return this.#routed(keys, (owner, some) => owner.session.sweepKeyspace.read(some));
  }

  /** As `Keyspace.nudge`. */
  nudge(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    return this.#routed(keys, (owner, some) => owner.session.keyspace.nudge(some));
  }

  /** Reads changed keys. A failure costs the readings of one primary, which sweeps its keys. */
  async readChanged(keys: readonly KeyInDatabase[]): Promise<readonly KeyReading[]> {
    return this.#routed(keys, async (owner, some) => {
      try {
        return await owner.session.keyspace.read(some);
      } catch {
        // A refused read begins no gap if the connection stays open.
        for (const key of some) this.#parts.trust.lose(key);
        owner.sweepNow();
        return [];
      }
    });
  }

  /** As `Keyspace.runCommands`, each command where its key is. */
  async runCommands(database: number, commands: readonly Command[]): Promise<readonly unknown[]> {
    const { owners } = this.#parts;
    const { sole } = owners;
    if (sole !== null) return sole.session.sweepKeyspace.runCommands(database, commands);
    const wanted = commands.map((command, at) => ({ command, at, key: keyOf(command) }));
    const answers = new Map<number, unknown>();
    const groups = Array.from(owners.group(wanted), async ([owner, some]) => {
      const replies = await owner?.session.sweepKeyspace.runCommands(
        database,
        some.map(({ command }) => command),
      );
      for (const [n, { at }] of some.entries()) answers.set(at, replies?.[n] ?? null);
    });
    await Promise.all(groups);
    return commands.map((_, at) => answers.get(at));
  }

  /** The time by the clock of the primary that is ahead of the others. */
  nowMs(): number {
    const { sole } = this.#parts.owners;
    if (sole !== null) return timeAt(sole);
    return Math.max(timeAt(this.#first), ...this.#parts.owners.all.map(timeAt));
  }

  /** How far the clock of a key's primary is behind `nowMs`, in milliseconds; 0 while it is not watched. */
  behindMs({ key }: Pick<KeyInDatabase, 'key'>): number {
    const { owners } = this.#parts;
    if (owners.sole !== null) return 0;
    const owner = owners.of(key);
    return owner === null ? 0 : Math.max(0, this.nowMs() - timeAt(owner));
  }

  get deadlineSlackMs(): number {
    const { all } = this.#parts.owners;
    if (all.length === 0) return CLOCK_SLACK_MS;
    return Math.max(...all.map(({ session }) => session.sweepKeyspace.deadlineSlackMs));
  }

  get #first(): Owner {
    const [first] = this.#parts.owners.all;
    if (first === undefined) throw new Error('no primary is watched');
    return first;
  }

  async #routed(keys: readonly KeyInDatabase[], read: Read): Promise<readonly KeyReading[]> {
    const { owners, refreshTopology } = this.#parts;
    const { sole } = owners;
    if (sole !== null) return read(sole, keys);
    const readings = new Map<KeyInDatabase, KeyReading>();
    const away: KeyInDatabase[] = [];
    const groups = Array.from(owners.group(keys), async ([owner, some]) => {
      const found = owner === null ? null : await this.#ask(owner, () => read(owner, some));
      for (const [at, key] of some.entries()) {
        const reading = found === null ? elsewhere(key) : found[at];
        if (reading === undefined) continue;
        readings.set(key, reading);
        // The keys of a primary that does not respond are nowhere else.
        if (found !== null && reading.ttl === 'elsewhere') away.push(key);
      }
    });
    await Promise.all(groups);
    if (away.length > 0) {
      void refreshTopology();
      await this.#readAway(away, readings);
    }
    return keys.flatMap((key) => readings.get(key) ?? []);
  }

  /** Reads keys that are not where their slots are known to be: only the primary that has them tells anything. */
  async #readAway(
    keys: readonly KeyInDatabase[],
    readings: Map<KeyInDatabase, KeyReading>,
  ): Promise<void> {
    const asked = this.#parts.owners.all.map(async (owner) => {
      const found = await this.#ask(owner, () => owner.session.keyspace.readAsking(keys));
      for (const [at, key] of keys.entries()) {
        const reading = found?.[at];
        if (reading !== undefined && reading.ttl !== 'elsewhere') readings.set(key, reading);
      }
    });
    await Promise.all(asked);
  }

  /** Null: the primary does not respond now, or refuses to. */
  async #ask(
    owner: Owner,
    read: () => Promise<readonly KeyReading[]>,
  ): Promise<readonly KeyReading[] | null> {
    if (this.#silent.has(owner)) return null;
    const { clock } = this.#parts;
    const reading = read().catch(() => null);
    void reading.then(() => this.#silent.delete(owner));
    const late = new AbortController();
    const found = await Promise.race([
      reading,
      clock.sleep(PATIENCE_MS, late.signal).then(() => undefined),
    ]);
    late.abort();
    if (found !== undefined) return found;
    this.#silent.add(owner);
    return null;
  }
}

function timeAt({ session }: Owner): number {
  return session.sweepKeyspace.nowMs();
}

function elsewhere({ database, key }: KeyInDatabase): KeyReading {
  return { database, key, ttl: 'elsewhere', deadlineMs: 0, readAtMs: 0 };
}

/** Of a command for one key. */
function keyOf([name, first, second]: Command): Buffer {
  const word = name === 'MEMORY' ? second : first;
  return Buffer.isBuffer(word) ? word : Buffer.from(String(word));
}
