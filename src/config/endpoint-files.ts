/** The edge: reads the files that hold secrets, and an endpoint's again when they have changed. */
import { stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import type { EndpointFiles, FilesNow } from '../endpoint.js';
import { messageOf } from '../errors.js';
import { printable } from '../printable.js';
import type { Secret } from '../secret.js';
import type { Settings } from '../vocabulary.js';
import type { EndpointInFile } from './endpoint-schema.js';
import { toEndpoint } from './endpoint-settings.js';
import { type Complaint, problemText } from './mistakes.js';
import { readText, type TextSource } from './read-file.js';
import type { RelayFile } from './schema.js';
import {
  checkCertificates,
  readSecretFile,
  type SecretFile,
  type SecretsFromFiles,
  secretFilesOfEndpoint,
} from './secret-files.js';
import { FILE_CHARS_SHOWN_MAX, type Reading, refused, shownFile } from './wording.js';

/** A secret is one line, and a list of all authorities some 300 KiB; more is some other file. */
export const SECRET_FILE_BYTES_MAX = 1024 * 1024;

/** Which version of which file it is. A link that is swapped leads to another one. */
type Fingerprint = string;

/** Of a pipe, such as a shell's `<(…)`, which holds nothing more once it has been read. */
const NO_REGULAR_FILE: Fingerprint = 'no regular file';

async function fingerprintOf(file: string): Promise<Fingerprint> {
  try {
    const stats = await stat(file, { bigint: true });
    if (!stats.isFile()) return NO_REGULAR_FILE;
    const { dev, ino, size, mtimeNs, ctimeNs } = stats;
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code ?? 'unknown';
  }
}

async function readSecretAt(
  place: SecretFile,
  folder: string,
  source: TextSource,
): Promise<Reading<Secret>> {
  const read = await readText(resolve(folder, place.file), SECRET_FILE_BYTES_MAX, source);
  if (read.ok) return readSecretFile(place, read.text);
  const isRelative = !isAbsolute(place.file);
  const where = isRelative ? `; looked for in ${printable(folder, FILE_CHARS_SHOWN_MAX)}` : '';
  const found = shownFile(place.file);
  return refused('a file that can be read', { found, hint: read.reason + where });
}

/** All by the key of their place. */
interface FilesRead {
  readonly secrets: SecretsFromFiles;
  /** None of what could not be read, so that the next look reads it again. */
  readonly fingerprints: ReadonlyMap<string, Fingerprint>;
  readonly complaints: readonly Complaint[];
}

export async function readSecretFiles(
  places: readonly SecretFile[],
  folder: string,
  source: TextSource,
): Promise<FilesRead> {
  const secrets = new Map<string, Secret>();
  const fingerprints = new Map<string, Fingerprint>();
  const complaints: Complaint[] = [];
  for (const place of places) {
    // Before the content: what changes in between is a change at the next look.
    const fingerprint = await fingerprintOf(resolve(folder, place.file));
    const reading = await readSecretAt(place, folder, source);
    if (reading.ok) {
      secrets.set(place.key, reading.value);
      fingerprints.set(place.key, fingerprint);
    } else complaints.push({ path: place.path, about: 'value', wording: reading.wording });
  }
  return { secrets, fingerprints, complaints };
}

class SecretFiles implements EndpointFiles {
  readonly #name: string;
  readonly #inFile: EndpointInFile;
  /** That are looked at again. */
  readonly #places: readonly SecretFile[];
  readonly #folder: string;
  /** What came from elsewhere at the start, and stays. */
  readonly #kept: SecretsFromFiles;
  #fingerprints: FilesRead['fingerprints'];
  /** What the files held last; null when that could not be used. */
  #held: SecretsFromFiles | null;

  constructor(
    name: string,
    inFile: EndpointInFile,
    places: readonly SecretFile[],
    { folder, secrets, fingerprints }: FilesRead & { readonly folder: string },
  ) {
    this.#name = name;
    this.#inFile = inFile;
    const isKept = (key: string) => fingerprints.get(key) === NO_REGULAR_FILE;
    this.#places = places.filter(({ key }) => !isKept(key));
    this.#kept = new Map(Array.from(secrets).filter(([key]) => isKept(key)));
    this.#folder = folder;
    this.#fingerprints = fingerprints;
    this.#held = secrets;
  }

  async look(): Promise<FilesNow> {
    try {
      return (await this.#isUntouched()) ? { kind: 'same' } : await this.#read();
    } catch (error) {
      return { kind: 'unusable', problem: messageOf(error) };
    }
  }

  async #isUntouched(): Promise<boolean> {
    for (const { key, file } of this.#places) {
      const now = await fingerprintOf(resolve(this.#folder, file));
      if (now !== this.#fingerprints.get(key)) return false;
    }
    return true;
  }

  async #read(): Promise<FilesNow> {
    const read = await readSecretFiles(this.#places, this.#folder, 'regular_file');
    const secrets = new Map([...this.#kept, ...read.secrets]);
    this.#fingerprints = read.fingerprints;
    const before = this.#held;
    this.#held = null;
    const [first] = [...read.complaints, ...checkCertificates(this.#name, secrets)];
    if (first !== undefined) return { kind: 'unusable', problem: problemText(first) };
    this.#held = secrets;
    // Files are touched, or replaced by the same, more often than they change.
    const isSame = this.#places.every(({ key }) => secrets.get(key)?.equals(before?.get(key)));
    if (isSame) return { kind: 'same' };
    const endpoint = toEndpoint(this.#name, this.#inFile, secrets);
    return { kind: 'changed', endpoint: { ...endpoint, files: this } };
  }
}

/** The same settings; endpoints that have files can look whether these have changed. */
export function withFiles(
  settings: Settings,
  from: FilesRead & { readonly file: RelayFile; readonly folder: string },
): Settings {
  const endpoints = Array.from(settings.endpoints, ([name, endpoint]) => {
    const inFile = from.file.endpoints[name];
    const places = inFile === undefined ? [] : secretFilesOfEndpoint(name, inFile);
    if (inFile === undefined || places.length === 0) return [name, endpoint] as const;
    const files = new SecretFiles(name, inFile, places, from);
    return [name, { ...endpoint, files }] as const;
  });
  return { ...settings, endpoints: new Map(endpoints) };
}
