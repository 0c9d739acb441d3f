/** I/O: reads the files that hold secrets. */
import { isAbsolute, resolve } from 'node:path';
import { printable } from '../lib/printable.js';
import type { Secret } from '../model/secret.js';
import { type FileVersion, NO_REGULAR_FILE, unreadVersion, versionOf } from './file-versions.js';
import type { Complaint } from './mistakes.js';
import { readText, type TextSource } from './read-file.js';
import { readSecretFile, type SecretFile, type SecretsFromFiles } from './secret-files.js';
import { FILE_CHARS_SHOWN_MAX, mismatch, showFile, type Wording } from './wording.js';

/** A secret is one line, a complete CA bundle about 300 KiB; a larger file is something else. */
export const SECRET_FILE_BYTES_MAX = 1024 * 1024;

type SecretReading =
  | { readonly ok: true; readonly value: Secret }
  | {
      readonly ok: false;
      readonly about: 'value' | 'content';
      readonly wording: Wording;
    };

async function readSecretAt(
  place: SecretFile,
  folder: string,
  source: TextSource,
): Promise<SecretReading> {
  const read = await readText(resolve(folder, place.file), SECRET_FILE_BYTES_MAX, source);
  if (read.ok) {
    const reading = readSecretFile(place, read.text);
    return reading.ok ? reading : { about: 'content', ...reading };
  }
  const isRelative = !isAbsolute(place.file);
  const where = isRelative ? `; looked for in ${printable(folder, FILE_CHARS_SHOWN_MAX)}` : '';
  const found = showFile(place.file);
  const hint = read.reason + where;
  return { ok: false, about: 'value', wording: mismatch('a readable file', { found, hint }) };
}

/** The secrets that were read from pipes, which cannot be read again. */
export type SecretsOfPipes = ReadonlyMap<string, Secret>;

export const NO_PIPES: SecretsOfPipes = new Map();

/** A file may be named in several places, whose contents are read differently. */
const pipeKey = (path: string, { content }: SecretFile): string => `${content} ${path}`;

/** Results by the key of their place. */
export interface FilesRead {
  readonly secrets: SecretsFromFiles;
  readonly versions: ReadonlyMap<string, FileVersion>;
  readonly pipes: SecretsOfPipes;
  readonly complaints: readonly Complaint[];
}

/** `pipes` holds the secrets that earlier calls have read from pipes. */
export async function readSecretFiles(
  places: readonly SecretFile[],
  folder: string,
  source: TextSource,
  pipes: SecretsOfPipes = NO_PIPES,
): Promise<FilesRead> {
  const secrets = new Map<string, Secret>();
  const versions = new Map<string, FileVersion>();
  const fromPipes = new Map(pipes);
  const complaints: Complaint[] = [];
  for (const place of places) {
    const path = resolve(folder, place.file);
    const fromPipe = pipes.get(pipeKey(path, place));
    if (fromPipe !== undefined) {
      secrets.set(place.key, fromPipe);
      versions.set(place.key, NO_REGULAR_FILE);
      continue;
    }
    // Taken before the content is read, so that changes made meanwhile are noticed.
    const version = await versionOf(path);
    const reading = await readSecretAt(place, folder, source);
    if (reading.ok) {
      secrets.set(place.key, reading.value);
      versions.set(place.key, version);
      if (version === NO_REGULAR_FILE) fromPipes.set(pipeKey(path, place), reading.value);
    } else {
      const { about, wording } = reading;
      complaints.push({ path: place.path, about, wording });
      versions.set(place.key, about === 'value' ? unreadVersion(version) : version);
    }
  }
  return { secrets, versions, pipes: fromPipes, complaints };
}
