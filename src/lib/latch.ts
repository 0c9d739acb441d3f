/** A one-way switch: once open, it stays open. */
export class Latch {
  #isOpen = false;
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  get isOpen(): boolean {
    return this.#isOpen;
  }

  open(): void {
    this.#isOpen = true;
    this.#open();
  }

  /** Resolves when the latch is open. */
  untilOpen(): Promise<void> {
    return this.#opened;
  }
}
