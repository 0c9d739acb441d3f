/**
 * Standard output that is a file. Node's own stream takes a short write, as on a disk that is nearly
 * full, for a whole one, and the rest is lost unnoticed.
 */
import { writeSync } from 'node:fs';
import type { TextOutput, WriteError } from './buffered-output.js';

export class FileOutput implements TextOutput {
  readonly #fd: number;
  /** A file takes what it takes at once. */
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
