/**
 * Makes external text (keys, responses) safe to print: the text cannot begin a new log line, move a terminal's
 * cursor, or reverse the reading direction.
 */

/** Enough to recognize a key, and short enough for a log line. */
export const LABEL_CHARS_MAX = 200;

/** Control and format characters, lone surrogates, line and paragraph separators. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function escapeCharacter(char: string): string {
  const code = char.codePointAt(0) ?? 0;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, '0')}`;
  return `\\u{${code.toString(16)}}`;
}

/** Escapes unsafe characters as `\xNN` or `\u{N}`, and doubles backslashes; truncates at `charsMax`. */
export function printable(text: string, charsMax = LABEL_CHARS_MAX): string {
  const cut = text.length > charsMax;
  const safe = (cut ? text.slice(0, charsMax) : text)
    .replaceAll('\\', '\\\\')
    .replace(UNSAFE, escapeCharacter);
  return cut ? `${safe}…` : safe;
}

/** For text that should already be escaped: its backslashes stay as they are. */
export function escapeUnprintable(text: string, charsMax = LABEL_CHARS_MAX): string {
  const safe = text.replace(UNSAFE, escapeCharacter);
  return safe.length > charsMax ? `${safe.slice(0, charsMax - 1)}…` : safe;
}

/** One line of JSON with unsafe characters escaped. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(UNSAFE, (char) =>
    Array.from({ length: char.length }, (_, at) => {
      return `\\u${char.charCodeAt(at).toString(16).padStart(4, '0')}`;
    }).join(''),
  );
}

const lossyDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Decodes UTF-8; invalid bytes become U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  return lossyDecoder.decode(bytes);
}

/** Null when the bytes are not valid UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** Like `printable`, for bytes: invalid UTF-8 appears as `\xNN`. */
export function printableBytes(bytes: Uint8Array, charsMax = LABEL_CHARS_MAX): string {
  const text = decodeUtf8(bytes);
  if (text !== null) return printable(text, charsMax);
  const cut = bytes.length > charsMax;
  const safe = Array.from(cut ? bytes.subarray(0, charsMax) : bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f && byte !== 0x5c
      ? String.fromCharCode(byte)
      : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
  return cut ? `${safe}…` : safe;
}
