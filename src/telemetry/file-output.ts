/**
 * Standard output to a file. Node's own stream treats a short write, as on a nearly full disk, as complete, and
 * silently loses the rest.
 */
import { writeSync } from 'node:fs';
import type { TextOutput, WriteError } from './buffered-output.js';

export class FileOutput implements TextOutput {
  readonly #fd: number;
  /** Always 0: writes to a file are synchronous. */
  readonly writableLength = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(text: string, done: (error?: WriteError | null) => void): void {
    const bytes = Buffer.from(text);
    let bytesWritten = 0;
    try {
      while (bytesWritten < bytes.length) bytesWritten += writeSync(this.#fd, bytes, bytesWritten);
    } catch (error) {
      done(Object.assign(error as Error, { bytesWritten }));
      return;
    }
    done();
  }
}
