/**
 * What SIGHUP does. It is held until the command is known: `run` reloads its configuration, and any other command stops.
 * So a service manager may send it while the relay is still starting.
 */
export class Hangups {
  readonly #stop: () => void;
  #listener: (() => void) | null = null;
  #isHeld = false;

  constructor(stop: () => void) {
    this.#stop = stop;
  }

  /** Call for each SIGHUP. */
  notify(): void {
    if (this.#listener === null) this.#isHeld = true;
    else this.#listener();
  }

  /** Calls the listener for each SIGHUP from now on, and once for those that are held. */
  listen(listener: () => void): void {
    this.#listener = listener;
    if (this.#isHeld) listener();
    this.#isHeld = false;
  }

  /** Stops the command at the first SIGHUP. */
  listenForStop(): void {
    this.listen(this.#stop);
  }
}
