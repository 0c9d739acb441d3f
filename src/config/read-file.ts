/** The edge: a file's text, or why there is none in words that show nothing of it. */
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { decodeUtf8 } from '../lib/printable.js';

const READ_FAILURES: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'there is no such file',
  EACCES: 'reading it is not permitted',
  EPERM: 'reading it is not permitted',
  EISDIR: 'it is a folder',
  ELOOP: 'its symbolic links lead in a circle',
  ENAMETOOLONG: 'its name is too long',
};

/**
 * Where a text may come from. Whoever opens a pipe waits for another who writes, and keeps a
 * thread of the few that also look up names: `any` is for a start, before there is work.
 */
export type TextSource = 'any' | 'regular_file';

/** What `readText` found: a text, or why there is none. */
export type FileText =
  | { readonly ok: true; readonly text: string }
  | { readonly ok: false; readonly code: string; readonly reason: string };

/** Up to `bytesMax` and one more, also from what has no size, such as a pipe. */
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

const NOT_UTF8 = 'it is no UTF-8 text: save it as UTF-8';

/** In the order of checking: UTF-32LE precedes UTF-16LE, whose mark is a prefix of its own. */
const BYTE_ORDER_MARKS: readonly (readonly [encoding: string, ...bytes: number[]])[] = [
  ['UTF-32 (little-endian)', 0xff, 0xfe, 0, 0],
  ['UTF-32 (big-endian)', 0, 0, 0xfe, 0xff],
  ['UTF-16 (little-endian)', 0xff, 0xfe],
  ['UTF-16 (big-endian)', 0xfe, 0xff],
];

/** Enough characters to tell an encoding by where their zero bytes are. */
const BYTES_LOOKED_AT = 256;

/**
 * UTF-16 or UTF-32, as editors and shells of Windows write it: by its byte order mark, or else by its
 * zero bytes, of which text in UTF-8 has none; null for what may be UTF-8.
 */
function otherEncoding(bytes: Buffer): string | null {
  const marked = BYTE_ORDER_MARKS.find(([, ...mark]) =>
    mark.every((byte, at) => bytes[at] === byte),
  );
  if (marked !== undefined) return marked[0];
  const start = bytes.subarray(0, BYTES_LOOKED_AT);
  const zerosAt = (parity: number) => start.filter((byte, at) => byte === 0 && at % 2 === parity);
  const [even, odd] = [zerosAt(0).length, zerosAt(1).length];
  // Most characters of such a file are ASCII.
  const isMost = (zeros: number) => start.length > 1 && zeros >= start.length / 4;
  if (isMost(even) && isMost(odd)) return 'UTF-32';
  if (isMost(odd) && even === 0) return 'UTF-16 (little-endian)';
  return isMost(even) && odd === 0 ? 'UTF-16 (big-endian)' : null;
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
    // A pipe may have taken its place since.
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
        reason: `it is no UTF-8 text, but ${encoding}: save it as UTF-8`,
      };
    }
    const text = decodeUtf8(bytes);
    if (text === null) return { ok: false, code: 'EILSEQ', reason: NOT_UTF8 };
    return { ok: true, text: text.replace(/^\uFEFF/, '') };
  } catch (thrown) {
    // Node's own text repeats the path, and a secret may have been written in its place.
    const code = (thrown as NodeJS.ErrnoException).code ?? 'unknown';
    return { ok: false, code, reason: READ_FAILURES[code] ?? `reading it failed: ${code}` };
  } finally {
    await handle?.close();
  }
}
