/** I/O: recognizes whether files have changed, without reading them. */
import { stat } from 'node:fs/promises';

/**
 * Identifies a version of a file: a replaced file, or another target of a symbolic link anywhere in its path, is another
 * version. The change time cannot be set by a program, so that a write is noticed even if it keeps size and time.
 */
export type FileVersion = string;

/** By absolute path. */
export type FileVersions = ReadonlyMap<string, FileVersion>;

/** The version of a pipe, such as a shell's `<(…)`, which can be read only once. */
export const NO_REGULAR_FILE: FileVersion = 'no regular file';

/** The version of a file that could not be read although it exists. */
const NOT_READ: FileVersion = 'not read';

/** The version of a file that could not be read. If it exists, no later version is equal: it is to be read again. */
export function unreadVersion(version: FileVersion): FileVersion {
  const isMissing = /^[A-Z]+$/.test(version);
  return isMissing || version === NO_REGULAR_FILE ? version : NOT_READ;
}

/** A missing file has a version as well. */
export async function versionOf(file: string): Promise<FileVersion> {
  try {
    const stats = await stat(file, { bigint: true });
    if (!stats.isFile()) return NO_REGULAR_FILE;
    const { dev, ino, size, mtimeNs, ctimeNs } = stats;
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

/** The present versions of these files, one after the other: many at once would delay the resolution of names. */
export async function versionsOf(files: Iterable<string>): Promise<FileVersions> {
  const versions = new Map<string, FileVersion>();
  for (const file of files) versions.set(file, await versionOf(file));
  return versions;
}

/** Whether both have the same versions of the same files. */
export function areSame(some: FileVersions, others: FileVersions): boolean {
  return (
    some.size === others.size &&
    Array.from(some).every(([file, version]) => others.get(file) === version)
  );
}
