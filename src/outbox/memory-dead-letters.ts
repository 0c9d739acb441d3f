/** Dead letters of the outbox in memory. */
import type { DeadLetter, Delivery } from '../model/vocabulary.js';
import type { DeadLetters } from './outbox.js';

export interface DeadLetterLimits {
  /** Dead letters kept per endpoint; the oldest is evicted. */
  readonly deadLettersMax: number;
  /** The total size of the bodies of one endpoint's dead letters. */
  readonly deadLetterBytesMax: number;
}

/** The dead letters of one endpoint. The map keeps the order of insertion: oldest first. */
interface Box {
  readonly letters: Map<string, DeadLetter>;
  bodyBytes: number;
}

export class MemoryDeadLetters implements DeadLetters {
  readonly #limits: DeadLetterLimits;
  readonly #onEvicted: (letter: DeadLetter) => void;
  readonly #admit: (delivery: Delivery) => boolean;
  readonly #boxes = new Map<string, Box>();

  /** `admit` makes a delivery ready again; false: there is no room. */
  constructor(
    limits: DeadLetterLimits,
    onEvicted: (letter: DeadLetter) => void,
    admit: (delivery: Delivery) => boolean,
  ) {
    this.#limits = limits;
    this.#onEvicted = onEvicted;
    this.#admit = admit;
  }

  add(letter: DeadLetter): void {
    const box = this.#box(letter.delivery.endpoint);
    box.letters.set(letter.delivery.id, letter);
    box.bodyBytes += letter.delivery.body.length;
    for (const oldest of box.letters.values()) {
      const { deadLettersMax, deadLetterBytesMax } = this.#limits;
      if (box.letters.size <= deadLettersMax && box.bodyBytes <= deadLetterBytesMax) return;
      remove(box, oldest);
      this.#onEvicted(oldest);
    }
  }

  async *list(endpoint: string): AsyncGenerator<DeadLetter> {
    yield* [...this.#box(endpoint).letters.values()];
  }

  async replay(endpoint: string, id: string): Promise<boolean> {
    const box = this.#box(endpoint);
    const letter = box.letters.get(id);
    if (letter === undefined || !this.#admit(letter.delivery)) return false;
    remove(box, letter);
    return true;
  }

  async drop(endpoint: string, id: string): Promise<boolean> {
    const box = this.#box(endpoint);
    const letter = box.letters.get(id);
    if (letter !== undefined) remove(box, letter);
    return letter !== undefined;
  }

  count(endpoint: string): number {
    return this.#box(endpoint).letters.size;
  }

  #box(endpoint: string): Box {
    let box = this.#boxes.get(endpoint);
    if (box === undefined) {
      box = { letters: new Map(), bodyBytes: 0 };
      this.#boxes.set(endpoint, box);
    }
    return box;
  }
}

function remove(box: Box, letter: DeadLetter): void {
  box.letters.delete(letter.delivery.id);
  box.bodyBytes -= letter.delivery.body.length;
}
