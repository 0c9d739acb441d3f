/**
 * Many arguments of a script in one: a client spends as much on a short argument as on a long one. Each argument
 * follows its length, 4 bytes in little endian.
 */

const LENGTH_BYTES = 4;

/** Enough for a small batch. */
const INITIAL_BYTES = 4 * 1024;

/** The maximum size of a character in UTF-8, for each unit of a string. */
const UNIT_BYTES_MAX = 3;

/** Lua: returns the list of packed arguments. */
export const UNPACKED = `local function unpacked(packed)
  local list, count, at = {}, 0, 1
  while at <= #packed do
    count = count + 1
    list[count], at = struct.unpack('<I4c0', packed, at)
  end
  return list
end
`;

export class PackedArguments {
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;

  /** Adds an argument; `rest` continues it. */
  add(start: string | number | Buffer, rest?: Buffer): void {
    const lengthAt = this.#length;
    this.#reserve(LENGTH_BYTES);
    this.#length += LENGTH_BYTES;
    this.#write(typeof start === 'number' ? String(start) : start);
    if (rest !== undefined) this.#write(rest);
    this.#buffer.writeUInt32LE(this.#length - lengthAt - LENGTH_BYTES, lengthAt);
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
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
