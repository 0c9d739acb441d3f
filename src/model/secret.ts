import { inspect } from 'node:util';

const MASK = '[secret]';

/**
 * A string that must not be seen: printing, logging or serializing it shows `[secret]`. Only `reveal()` returns the
 * string, so a search for that word finds every use.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  /** Whether both hold the same string. */
  equals(other: Secret | undefined): boolean {
    return other !== undefined && this.#text === other.#text;
  }

  /** Makes another secret from this one. */
  derive(make: (text: string) => string): Secret {
    return new Secret(make(this.#text));
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect.custom](): string {
    return MASK;
  }
}
