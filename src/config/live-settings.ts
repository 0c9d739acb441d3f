/**
 * The one owner of the settings while the relay runs. Each version is immutable, and a reload replaces it as a whole.
 * Everything else asks for the current version when it needs it, and keeps none.
 */
import type { Settings } from '../model/vocabulary.js';

export class LiveSettings {
  #current: Settings;

  constructor(first: Settings) {
    this.#current = first;
  }

  get current(): Settings {
    return this.#current;
  }

  /** Returns what follows from the current version, computed once for each version. */
  derive<Derived>(compute: (settings: Settings) => Derived): () => Derived {
    let version = this.#current;
    let derived = compute(version);
    return () => {
      if (version !== this.#current) {
        version = this.#current;
        derived = compute(version);
      }
      return derived;
    };
  }

  replace(next: Settings): void {
    this.#current = next;
  }
}
