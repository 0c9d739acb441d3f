/** Kept values in memory, for a Redis that may only be read. They are lost when the process ends. */
import { keyId } from '../model/key-id.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import type { KeptValue, Values, ValueToForget, ValueToKeep } from './values.js';

/** The total size of all values. A value that finds no room is read just before its key's deadline. */
export const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** The approximate size of an entry beyond its value and its key's name. */
const ENTRY_BYTES = 300;

interface Entry extends KeyInDatabase {
  readonly kept: KeptValue;
  readonly bytes: number;
}

export class MemoryValues implements Values {
  readonly #bytesMax: number;
  /** Entries by key id, oldest first. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(bytesMax: number = KEPT_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  async keep(values: readonly ValueToKeep[]): Promise<void> {
    for (const { database, key, value, bytes, deadlineMs } of values) {
      const entry = {
        database,
        key,
        kept: { value, bytes, deadlineMs },
        bytes: ENTRY_BYTES + key.length + 2 * bytes,
      };
      const name = keyId(entry);
      this.#delete(name);
      this.#entries.set(name, entry);
      this.#bytes += entry.bytes;
    }
    for (const name of this.#entries.keys()) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#delete(name);
    }
  }

  async findMissing(deadlines: readonly Deadline[]): Promise<readonly Deadline[]> {
    return deadlines.filter(
      (one) => this.#entries.get(keyId(one))?.kept.deadlineMs !== one.deadlineMs,
    );
  }

  async read(keys: readonly KeyInDatabase[]): Promise<readonly (KeptValue | null)[]> {
    return keys.map((key) => this.#entries.get(keyId(key))?.kept ?? null);
  }

  async forget(keys: readonly ValueToForget[]): Promise<void> {
    for (const { deadlineMs, ...key } of keys) {
      const name = keyId(key);
      const known = this.#entries.get(name)?.kept.deadlineMs;
      if (deadlineMs === null || deadlineMs === known) this.#delete(name);
    }
  }

  async forgetAll(database: number): Promise<void> {
    for (const [name, entry] of this.#entries) if (entry.database === database) this.#delete(name);
  }

  /** No other replica can leave values behind in memory. */
  async prune(): Promise<void> {}

  #delete(name: string): void {
    this.#bytes -= this.#entries.get(name)?.bytes ?? 0;
    this.#entries.delete(name);
  }
}
