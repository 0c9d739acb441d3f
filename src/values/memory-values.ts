/** The values that were read, for a Redis that may only be read. They end with the process. */
import { keyId } from '../model/key-id.js';
import type { Deadline, KeyInDatabase } from '../model/vocabulary.js';
import type { KeptValue, Values, ValueToForget, ValueToKeep } from './values.js';

/** Of all values together; a key whose value finds no room has it read just before its deadline. */
export const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** What an entry takes beside its value and its key's name, about. */
const ENTRY_BYTES = 300;

interface Entry extends KeyInDatabase {
  readonly kept: KeptValue;
  readonly bytes: number;
}

export class MemoryValues implements Values {
  readonly #bytesMax: number;
  /** By name; the oldest first. */
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

  async lacking(deadlines: readonly Deadline[]): Promise<readonly Deadline[]> {
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

  /** Nothing else is left behind: no replica dies in between. */
  async prune(): Promise<void> {}

  #delete(name: string): void {
    this.#bytes -= this.#entries.get(name)?.bytes ?? 0;
    this.#entries.delete(name);
  }
}
