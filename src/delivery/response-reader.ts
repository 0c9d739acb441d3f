/**
 * Reads the bytes of a response before the parser. All bytes count towards two limits. Informational responses are
 * removed, since the parser rejects some of them (RFC 9110, section 15.2). The final response's status is kept even if
 * the rest is malformed.
 */

/**
 * The limit of the head: from the first byte to the empty line of the final response, including informational responses
 * and blank lines before it.
 */
export const HEAD_BYTES_MAX = 64 * 1024;

/** The limit of the body on the wire, including chunk sizes, chunk extensions and trailers. */
export const BODY_BYTES_MAX = 4 * 1024;

export const HEAD_LIMIT_TEXT = `${HEAD_BYTES_MAX / 1024} KiB`;

/** The head is longer than its limit. */
export class ResponseHeadError extends Error {
  readonly code = 'ERR_RESPONSE_HEAD';

  constructor(hasFinalStatus: boolean) {
    super(
      hasFinalStatus
        ? `the head of the response is longer than ${HEAD_LIMIT_TEXT}`
        : `the response has no final status within ${HEAD_LIMIT_TEXT}`,
    );
  }
}

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const DIGIT_0 = 0x30;
const DIGIT_9 = 0x39;

/** The start of a status line; `0` stands for any digit. */
const STATUS_LINE = Buffer.from('HTTP/0.0 000');
const STATUS_COLUMN = STATUS_LINE.indexOf('000');
const STATUS_MIN = 100;
const FINAL_STATUS_MIN = 200;

const STATUS_SWITCHING_PROTOCOLS = 101;
const UPGRADE = /^upgrade[ \t]*:/im;

/** The part of a response that the next byte belongs to. */
type Part = 'blank lines' | 'status line' | 'informational head' | 'final head' | 'body';

export class ResponseReader {
  /** The final response's status; null until its status line has been read. */
  status: number | null = null;
  /** Whether any byte of a response has been read. */
  hasBegun = false;
  /** Whether the response is longer than a limit: reading ends. */
  isOverLimit = false;
  #part: Part = 'blank lines';
  #headBytes = 0;
  #bodyBytes = 0;
  /** The position of the next byte in the status line. */
  #column = 0;
  /** The digits of the status read so far. */
  #statusSoFar = 0;
  /** Whether the line is empty so far, except for carriage returns. */
  #isLineEmpty = true;
  /** Whether bytes go to the parser: from the end of the final head on. */
  #passes = false;
  /** The head so far, in one buffer, however small the packets are. */
  #held: Buffer | null = null;
  #heldBytes = 0;

  /** Begins the next response. */
  reset(): void {
    this.status = null;
    this.hasBegun = false;
    this.isOverLimit = false;
    this.#part = 'blank lines';
    this.#headBytes = 0;
    this.#bodyBytes = 0;
    this.#isLineEmpty = true;
    this.#passes = false;
    this.#held = null;
    this.#heldBytes = 0;
  }

  /** Returns the bytes for the parser; null: none yet. */
  pass(chunk: Buffer): Buffer | null {
    this.hasBegun = true;
    const headMax = Math.min(chunk.length, HEAD_BYTES_MAX - this.#headBytes);
    let start = 0;
    let end = 0;
    while (end < headMax && this.#part !== 'body') {
      const part: Part = this.#part;
      this.#readHead(chunk[end] as number);
      end += 1;
      if (this.#isMidLine) {
        const lineEnd = chunk.indexOf(LF, end);
        end = lineEnd === -1 ? headMax : Math.min(lineEnd, headMax);
      }
      if (this.#passes || this.#part !== 'blank lines') continue;
      if (part === 'informational head' && this.#statusSoFar === STATUS_SWITCHING_PROTOCOLS) {
        // An unsolicited upgrade: the parser ends the connection, but a response after it counts.
        this.#passes = UPGRADE.test(this.#withHeld(chunk.subarray(start, end)).toString('latin1'));
      }
      if (this.#passes) continue;
      start = end;
      this.#heldBytes = 0;
    }
    this.#headBytes += end;
    if (this.#part === 'body') {
      const bodyBytes = Math.min(chunk.length - end, BODY_BYTES_MAX - this.#bodyBytes);
      this.#bodyBytes += bodyBytes;
      end += bodyBytes;
    }
    this.isOverLimit = end < chunk.length;
    const bytes = chunk.subarray(start, end);
    if (!this.#passes) return this.#hold(bytes);
    const passed = this.#withHeld(bytes);
    this.#heldBytes = 0;
    return passed.length === 0 ? null : passed;
  }

  /** Whether the rest of the line can be skipped. */
  get #isMidLine(): boolean {
    switch (this.#part) {
      case 'status line':
        return this.#column > STATUS_LINE.length;
      case 'informational head':
      case 'final head':
        return !this.#isLineEmpty;
      default:
        return false;
    }
  }

  #hold(bytes: Buffer): null {
    if (bytes.length === 0) return null;
    this.#held ??= Buffer.allocUnsafe(HEAD_BYTES_MAX);
    this.#heldBytes += bytes.copy(this.#held, this.#heldBytes);
    return null;
  }

  #withHeld(bytes: Buffer): Buffer {
    if (this.#held === null || this.#heldBytes === 0) return bytes;
    return Buffer.concat([this.#held.subarray(0, this.#heldBytes), bytes]);
  }

  #readHead(byte: number): void {
    if (this.#part === 'blank lines') {
      if (byte === CR || byte === LF) return;
      this.#part = 'status line';
      this.#column = 0;
      this.#statusSoFar = 0;
    }
    if (this.#part === 'status line') return this.#readStatusLine(byte);
    if (byte === LF) {
      if (this.#isLineEmpty) this.#endHead();
      this.#isLineEmpty = true;
    } else if (byte !== CR) this.#isLineEmpty = false;
  }

  #readStatusLine(byte: number): void {
    const column = this.#column;
    this.#column += 1;
    if (column < STATUS_LINE.length) {
      const wanted = STATUS_LINE[column];
      const isDigit = byte >= DIGIT_0 && byte <= DIGIT_9;
      if (wanted === DIGIT_0 ? !isDigit : byte !== wanted) return this.#passMalformed();
      if (column >= STATUS_COLUMN) this.#statusSoFar = this.#statusSoFar * 10 + byte - DIGIT_0;
      return;
    }
    const isStatus = this.#statusSoFar >= STATUS_MIN;
    const endsHere = byte === SPACE || byte === CR || byte === LF;
    if (column === STATUS_LINE.length && !(isStatus && endsHere)) return this.#passMalformed();
    if (byte !== LF) return;
    this.#isLineEmpty = true;
    const isFinal = this.#statusSoFar >= FINAL_STATUS_MIN;
    this.#part = isFinal ? 'final head' : 'informational head';
    if (isFinal) this.status = this.#statusSoFar;
  }

  #endHead(): void {
    const isFinal = this.#part === 'final head';
    this.#part = isFinal ? 'body' : 'blank lines';
    if (isFinal) this.#passes = true;
  }

  /** Passes malformed bytes on: the parser reports the error. */
  #passMalformed(): void {
    this.#part = 'final head';
    this.#passes = true;
  }
}
