/** I/O: a file's text, or an error message that shows nothing of the file. */
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { decodeUtf8 } from '../lib/printable.js';

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: 'no such file',
  ENOTDIR: 'no such file',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  ELOOP: 'too many levels of symbolic links',
  ENAMETOOLONG: 'file name too long',
};

/**
 * Allowed kinds of files. Opening a pipe blocks until a writer opens it, and occupies one of the few threads that
 * also resolve host names: use `any` only during startup.
 */
export type TextSource = 'any' | 'regular_file';

/** The result of `readText`: a text or an error. */
export type FileText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/** Reads at most `bytesMax + 1` bytes, also from files without a size, such as pipes. */
async function readBytes(handle: FileHandle, bytesMax: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytesMax + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

const NOT_UTF8 = 'it is not UTF-8 text: save it as UTF-8';

/** Checked in order: the UTF-16LE mark is a prefix of the UTF-32LE mark. */
const BYTE_ORDER_MARKS: readonly (readonly [encoding: string, ...bytes: number[]])[] = [
  ['UTF-32 (little-endian)', 0xff, 0xfe, 0, 0],
  ['UTF-32 (big-endian)', 0, 0, 0xfe, 0xff],
  ['UTF-16 (little-endian)', 0xff, 0xfe],
  ['UTF-16 (big-endian)', 0xfe, 0xff],
];

/** Encodings by the zero bytes among each four bytes of ASCII text: 0 for a zero byte, x for another one. */
const ENCODINGS_BY_ZEROS: Readonly<Record<string, string>> = {
  x000: 'UTF-32',
  '000x': 'UTF-32',
  x0x0: 'UTF-16 (little-endian)',
  '0x0x': 'UTF-16 (big-endian)',
};

/** Enough bytes to recognize an encoding by its zero bytes. */
const BYTES_LOOKED_AT = 256;

/**
 * Detects UTF-16 and UTF-32, which Windows editors and shells write, by the byte order mark or by zero bytes, which
 * UTF-8 text does not contain; null when the text may be UTF-8.
 */
function otherEncoding(bytes: Buffer): string | null {
  const marked = BYTE_ORDER_MARKS.find(([, ...mark]) =>
    mark.every((byte, at) => bytes[at] === byte),
  );
  if (marked !== undefined) return marked[0];
  const start = bytes.subarray(0, BYTES_LOOKED_AT);
  const pattern = [0, 1, 2, 3].map((place) => {
    const its = start.filter((_, at) => at % 4 === place);
    const zeros = its.filter((byte) => byte === 0).length;
    if (zeros === 0) return 'x';
    // Most characters of a configuration are ASCII.
    return zeros >= its.length / 2 ? '0' : '?';
  });
  return ENCODINGS_BY_ZEROS[pattern.join('')] ?? null;
}

export async function readText(
  file: string,
  bytesMax: number,
  source: TextSource,
): Promise<FileText> {
  let handle: FileHandle | undefined;
  try {
    if (source === 'regular_file' && !(await stat(file)).isFile()) {
      return { ok: false, code: 'EINVAL', reason: 'it is no regular file' };
    }
    // A pipe may have replaced the file since the check.
    const withoutWaiting = source === 'regular_file' ? constants.O_NONBLOCK : 0;
    handle = await open(file, constants.O_RDONLY | withoutWaiting);
    const bytes = await readBytes(handle, bytesMax);
    if (bytes.length > bytesMax) {
      return { ok: false, code: 'EFBIG', reason: `it has more than ${bytesMax} bytes` };
    }
    const encoding = otherEncoding(bytes);
    if (encoding !== null) {
      return {
        ok: false,
        code: 'EILSEQ',
        reason: `it is not UTF-8 text, but ${encoding}: save it as UTF-8`,
      };
    }
    const text = decodeUtf8(bytes);
    if (text === null) return { ok: false, code: 'EILSEQ', reason: NOT_UTF8 };
    return { ok: true, text: text.replace(/^\uFEFF/, '') };
  } catch (thrown) {
    // Node's message repeats the path, which may be a misplaced secret.
    const code = (thrown as NodeJS.ErrnoException).code ?? 'unknown';
    return { ok: false, code, reason: READ_FAILURES[code] ?? `reading it failed: ${code}` };
  } finally {
    await handle?.close();
  }
}
