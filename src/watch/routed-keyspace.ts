/**
 * Reads each key at the primary that has its slot. With one primary, everything goes to it. With several, a key whose
 * primary cannot be asked now is `elsewhere`: nothing is known about it, and it is read again later.
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

/** How long a reading waits to learn who has the keys now. */
const REFRESH_MS_MAX = 250;

export interface RoutedKeyspaceParts {
  readonly owners: Owners;
  readonly trust: Pick<IndexTrust, 'lose'>;
  /** Resolves when it is known again which primary has which slots, or cannot be. Never rejects. */
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
        this.#parts.trust.lose();
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

  nowMs(): number {
    return this.#first.nowMs();
  }

  get deadlineSlackMs(): number {
    return this.#parts.owners.all.length === 0 ? CLOCK_SLACK_MS : this.#first.deadlineSlackMs;
  }

  get #first() {
    const [first] = this.#parts.owners.all;
    if (first === undefined) throw new Error('no primary is watched');
    return first.session.sweepKeyspace;
  }

  async #routed(keys: readonly KeyInDatabase[], read: Read): Promise<readonly KeyReading[]> {
    const { owners, clock, refreshTopology } = this.#parts;
    const { sole } = owners;
    if (sole !== null) return read(sole, keys);
    const readings = await this.#readGroups(keys, read);
    const away = keys.filter((key) => readings.get(key)?.ttl === 'elsewhere');
    if (away.length > 0) {
      await Promise.race([refreshTopology(), clock.sleep(REFRESH_MS_MAX)]);
      for (const [key, reading] of await this.#readGroups(away, read)) readings.set(key, reading);
    }
    return keys.flatMap((key) => readings.get(key) ?? []);
  }

  async #readGroups(
    keys: readonly KeyInDatabase[],
    read: Read,
  ): Promise<Map<KeyInDatabase, KeyReading>> {
    const readings = new Map<KeyInDatabase, KeyReading>();
    const groups = Array.from(this.#parts.owners.group(keys), async ([owner, some]) => {
      const found = owner === null ? null : await this.#ask(owner, () => read(owner, some));
      for (const [at, key] of some.entries()) {
        const reading = found === null ? elsewhere(key) : found[at];
        if (reading !== undefined) readings.set(key, reading);
      }
    });
    await Promise.all(groups);
    return readings;
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

function elsewhere({ database, key }: KeyInDatabase): KeyReading {
  return { database, key, ttl: 'elsewhere', deadlineMs: 0, readAtMs: 0 };
}

/** Of a command for one key. */
function keyOf([name, first, second]: Command): Buffer {
  const word = name === 'MEMORY' ? second : first;
  return Buffer.isBuffer(word) ? word : Buffer.from(String(word));
}
