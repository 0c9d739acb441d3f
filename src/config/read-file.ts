/** The edge: a file's text, or why there is none in words that show nothing of it. */
import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { decodeUtf8 } from '../printable.js';

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
    const text = decodeUtf8(bytes);
    if (text === null) return { ok: false, code: 'EILSEQ', reason: 'it is no UTF-8 text' };
    return { ok: true, text: text.replace(/^\uFEFF/, '') };
  } catch (thrown) {
    // Node's own text repeats the path, and a secret may have been written in its place.
    const code = (thrown as NodeJS.ErrnoException).code ?? 'unknown';
    return { ok: false, code, reason: READ_FAILURES[code] ?? `reading it failed: ${code}` };
  } finally {
    await handle?.close();
  }
}
