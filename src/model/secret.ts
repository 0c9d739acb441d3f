import { inspect } from 'node:util';

const MASK = '[secret]';

/**
 * A text that must not be seen: whatever prints, logs or serialises it shows `[secret]`. Only
 * `reveal()` gives it away, so a search for that word finds every place that does.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  reveal(): string {
    return this.#text;
  }

  /** Whether both hold the same text. */
  equals(other: Secret | undefined): boolean {
    return other !== undefined && this.#text === other.#text;
  }

  /** Another secret, made from this one. */
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
