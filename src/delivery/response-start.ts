/**
 * The bytes with which a response begins, before a parser sees them. Informational responses are
 * taken out: the parser refuses some of them (RFC 9110, section 15.2). The status of the final
 * response is remembered, so that it counts whatever is wrong with the rest.
 */

/** The head of a response; a longer one is not read to its end. */
export const HEAD_BYTES_MAX = 64 * 1024;

const CR = 0x0d;
const LF = 0x0a;

const PROTOCOL = 'HTTP/';
const STATUS_LINE = /^HTTP\/\d\.\d ([1-9]\d\d)(?: |\r?$)/;

const STATUS_SWITCHING_PROTOCOLS = 101;
const UPGRADE = /^upgrade[ \t]*:/im;

const NOTHING: Buffer = Buffer.alloc(0);

export class ResponseStart {
  /** Of the final response; null until its status line has been read. */
  status: number | null = null;
  /** Whether anything of a response has been read. */
  hasBegun = false;
  #held: Buffer = NOTHING;
  /** Nothing that comes is looked at any more. */
  #isOver = false;

  /** Returns what a parser is to see of it; null for nothing yet. */
  pass(chunk: Buffer): Buffer | null {
    this.hasBegun = true;
    if (this.#isOver) return chunk;
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = NOTHING;
    for (;;) {
      while (bytes[0] === CR || bytes[0] === LF) bytes = bytes.subarray(1);
      if (bytes.length === 0) return null;
      const lineEnd = bytes.indexOf(LF);
      if (lineEnd === -1) return isProtocol(bytes) ? this.#hold(bytes) : this.#end(bytes, null);
      const status = statusIn(bytes, lineEnd);
      if (status === null || status >= 200) return this.#end(bytes, status);
      const headEnd = endOfHead(bytes, lineEnd);
      if (headEnd === -1) return this.#hold(bytes);
      const rest = bytes.subarray(headEnd);
      if (
        status === STATUS_SWITCHING_PROTOCOLS &&
        UPGRADE.test(bytes.toString('latin1', 0, headEnd))
      ) {
        // Nobody asked for it: the parser ends the connection, but a response behind it counts.
        return this.#end(bytes, statusIn(rest, rest.indexOf(LF)));
      }
      bytes = rest;
    }
  }

  #hold(bytes: Buffer): Buffer | null {
    if (bytes.length > HEAD_BYTES_MAX) return this.#end(bytes, null);
    this.#held = bytes;
    return null;
  }

  #end(bytes: Buffer, status: number | null): Buffer {
    this.#isOver = true;
    this.status = status !== null && status >= 200 ? status : null;
    return bytes;
  }
}

/** Whether it may become a status line. */
function isProtocol(bytes: Buffer): boolean {
  return PROTOCOL.startsWith(bytes.toString('latin1', 0, PROTOCOL.length));
}

/** Of the line that ends at `lineEnd`; null when that is no status line. */
function statusIn(bytes: Buffer, lineEnd: number): number | null {
  const [, status] = STATUS_LINE.exec(bytes.toString('latin1', 0, Math.max(0, lineEnd))) ?? [];
  return status === undefined ? null : Number(status);
}

/** Behind the empty line; -1 when that has not come. */
function endOfHead(bytes: Buffer, firstLineEnd: number): number {
  for (let at = firstLineEnd; at !== -1; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}
