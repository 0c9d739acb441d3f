/**
 * Many arguments of a script in few: a client spends as much on a short argument as on a long one. The script joins
 * them and reads the result with `cmsgpack.unpack`.
 * Source: the MessagePack specification, formats "array 32" and "str 32".
 */

const ARRAY_32 = 0xdd;
const STR_32 = 0xdb;

/** A format, and a length or a count in big endian. */
const HEAD_BYTES = 5;

/** Enough for a small batch, and little enough for Node's pool of buffers. */
const INITIAL_BYTES = 2 * 1024;

/** The maximum size of a character in UTF-8, for each unit of a string. */
const UNIT_BYTES_MAX = 3;

/** Half of the smallest `proto-max-bulk-len` that Redis accepts. */
const CHUNK_BYTES_MAX = 512 * 1024;

export class PackedArguments {
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  /** The array's head is written last. */
  #length = HEAD_BYTES;
  #count = 0;

  /** Adds an argument; `rest` continues it. A script receives a number as a string. */
  add(start: string | number | Buffer, rest?: Buffer): void {
    this.#reserve(HEAD_BYTES);
    const headAt = this.#length;
    this.#length += HEAD_BYTES;
    this.#write(typeof start === 'number' ? String(start) : start);
    if (rest !== undefined) this.#write(rest);
    this.#writeHead(headAt, STR_32, this.#length - headAt - HEAD_BYTES);
    this.#count += 1;
  }

  /** The arguments for the script, at least one. */
  get chunks(): readonly Buffer[] {
    this.#writeHead(0, ARRAY_32, this.#count);
    const chunks: Buffer[] = [];
    for (let from = 0; from < this.#length; from += CHUNK_BYTES_MAX) {
      chunks.push(this.#buffer.subarray(from, Math.min(from + CHUNK_BYTES_MAX, this.#length)));
    }
    return chunks;
  }

  #writeHead(at: number, format: number, length: number): void {
    this.#buffer[at] = format;
    this.#buffer.writeUInt32BE(length, at + 1);
  }

  #write(part: string | Buffer): void {
    if (typeof part === 'string') {
      this.#reserve(UNIT_BYTES_MAX * part.length);
      this.#length += this.#buffer.write(part, this.#length);
    } else {
      this.#reserve(part.length);
      this.#length += part.copy(this.#buffer, this.#length);
    }
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
