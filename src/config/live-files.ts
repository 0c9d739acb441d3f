/** I/O: reads the files that hold secrets, and rereads them when they change. */
import { stat } from 'node:fs/promises';
import { isAbsolute, resolve } from 'node:path';
import { printable } from '../lib/printable.js';
import type { Endpoint, FilesNow, WatchedFiles } from '../model/endpoint.js';
import { messageOf } from '../model/errors.js';
import {
  LOGIN_SECTIONS,
  type LoginSection,
  type RedisCredentials,
  type RedisFiles,
  type SentinelSettings,
} from '../model/redis-login.js';
import type { Secret } from '../model/secret.js';
import type { Settings } from '../model/vocabulary.js';
import { toEndpoint } from './endpoint-settings.js';
import { type Complaint, problemText } from './mistakes.js';
import { readText, type TextSource } from './read-file.js';
import type { RelayFile } from './schema.js';
import {
  checkCertificates,
  checkSecrets,
  filePaths,
  readSecretFile,
  type SecretFile,
  type SecretsFromFiles,
  secretFilesOfEndpoint,
  secretFilesOfLogin,
} from './secret-files.js';
import {
  credentialsOfSection,
  hasLoginOfRedis,
  namesStateServer,
  stateCredentials,
} from './settings.js';
import { FILE_CHARS_SHOWN_MAX, mismatch, showFile, type Wording } from './wording.js';

/** A secret is one line, a complete CA bundle about 300 KiB; a larger file is something else. */
export const SECRET_FILE_BYTES_MAX = 1024 * 1024;

/** Identifies a version of a file. A replaced symbolic link yields another file. */
type Fingerprint = string;

/** The fingerprint of a pipe, such as a shell's `<(…)`, which can be read only once. */
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

type SecretReading =
  | { readonly ok: true; readonly value: Secret }
  | { readonly ok: false; readonly about: 'value' | 'content'; readonly wording: Wording };

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
  return {
    ok: false,
    about: 'value',
    wording: mismatch('a readable file', { found, hint }),
  };
}

/** Results by the key of their place. */
interface FilesRead {
  readonly secrets: SecretsFromFiles;
  /** Omits unreadable files, so that the next check rereads them. */
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
    // Taken before the content is read, so that the next check notices changes made meanwhile.
    const fingerprint = await fingerprintOf(resolve(folder, place.file));
    const reading = await readSecretAt(place, folder, source);
    if (reading.ok) {
      secrets.set(place.key, reading.value);
      fingerprints.set(place.key, fingerprint);
    } else {
      const { about, wording } = reading;
      complaints.push({ path: place.path, about, wording });
    }
  }
  return { secrets, fingerprints, complaints };
}

interface SecretFilesParts<Held> {
  /** The files that are checked again. */
  readonly places: readonly SecretFile[];
  /** Checks the contents against each other. */
  readonly check: (secrets: SecretsFromFiles) => readonly Complaint[];
  readonly make: (secrets: SecretsFromFiles) => Held;
  readonly from: FilesRead & { readonly folder: string };
}

class SecretFiles<Held> implements WatchedFiles<Held> {
  readonly #parts: SecretFilesParts<Held>;
  readonly #places: readonly SecretFile[];
  /** Secrets that do not come from these files; constant. */
  readonly #kept: SecretsFromFiles;
  #fingerprints: FilesRead['fingerprints'];
  /** The last content of the files; null when it was unusable. */
  #held: SecretsFromFiles | null;

  constructor(parts: SecretFilesParts<Held>) {
    const { places, from } = parts;
    this.#parts = parts;
    const isKept = (key: string) => from.fingerprints.get(key) === NO_REGULAR_FILE;
    this.#places = places.filter(({ key }) => !isKept(key));
    this.#kept = new Map(Array.from(from.secrets).filter(([key]) => isKept(key)));
    this.#fingerprints = from.fingerprints;
    this.#held = from.secrets;
  }

  async look(): Promise<FilesNow<Held>> {
    try {
      return (await this.#isUntouched()) ? { kind: 'same' } : await this.#read();
    } catch (error) {
      return { kind: 'unusable', problem: messageOf(error) };
    }
  }

  async #isUntouched(): Promise<boolean> {
    for (const { key, file } of this.#places) {
      const now = await fingerprintOf(resolve(this.#parts.from.folder, file));
      if (now !== this.#fingerprints.get(key)) return false;
    }
    return true;
  }

  async #read(): Promise<FilesNow<Held>> {
    const { check, make, from } = this.#parts;
    const read = await readSecretFiles(this.#places, from.folder, 'regular_file');
    const secrets = new Map([...this.#kept, ...read.secrets]);
    this.#fingerprints = read.fingerprints;
    const before = this.#held;
    this.#held = null;
    const [first] = [...read.complaints, ...check(secrets)];
    if (first !== undefined) return { kind: 'unusable', problem: problemText(first) };
    this.#held = secrets;
    // Files are often touched, or replaced with equal content.
    const isSame = this.#places.every(({ key }) => secrets.get(key)?.equals(before?.get(key)));
    return isSame ? { kind: 'same' } : { kind: 'changed', held: make(secrets) };
  }
}

/** The last usable credentials. */
class LoginFiles implements RedisFiles {
  readonly #files: WatchedFiles<RedisCredentials>;
  #credentials: RedisCredentials;
  #isStale = false;
  #wasAccepted = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(files: WatchedFiles<RedisCredentials>, credentials: RedisCredentials) {
    this.#files = files;
    this.#credentials = credentials;
  }

  get wasAccepted(): boolean {
    return this.#wasAccepted;
  }

  onAccepted(): void {
    this.#wasAccepted = true;
  }

  /** Reads are serialized: several connections may be opened at the same time. */
  read(): ReturnType<RedisFiles['read']> {
    const reading = this.#reading.then(() => this.#read());
    this.#reading = reading;
    return reading;
  }

  async #read(): ReturnType<RedisFiles['read']> {
    const found = await this.#files.look();
    const problem = found.kind === 'unusable' && !this.#isStale ? found.problem : null;
    if (found.kind === 'changed') this.#credentials = found.held;
    if (found.kind !== 'same') this.#isStale = found.kind === 'unusable';
    return { credentials: this.#credentials, problem };
  }
}

interface FilesOfSettings extends FilesRead {
  readonly file: RelayFile;
  readonly folder: string;
  /** See `RedisTls`. */
  readonly extraCaProblem: string | null;
}

/** The files of one login. */
function loginFiles(
  section: LoginSection,
  from: FilesOfSettings,
  credentials: RedisCredentials,
): RedisFiles | null {
  const { file, extraCaProblem } = from;
  const places = secretFilesOfLogin(section, file);
  if (places.length === 0) return null;
  const make = (secrets: SecretsFromFiles) =>
    credentialsOfSection(file, section, secrets, extraCaProblem);
  const check = (secrets: SecretsFromFiles) =>
    checkCertificates((key) => filePaths.loginTls(section, key), secrets);
  return new LoginFiles(new SecretFiles({ places, check, make, from }), credentials);
}

/** Shared with `redis` when the state has no files of its own. */
function stateFiles(
  from: FilesOfSettings,
  credentials: RedisCredentials,
  ofRedis: RedisFiles | null,
): RedisFiles | null {
  const { file, secrets, extraCaProblem } = from;
  if (hasLoginOfRedis(file, secrets)) return ofRedis;
  const inherited = namesStateServer(file) ? [] : secretFilesOfLogin('redis', file);
  const places = [...secretFilesOfLogin('state', file), ...inherited];
  if (places.length === 0) return null;
  const make = (secrets: SecretsFromFiles) => stateCredentials(file, secrets, extraCaProblem);
  const check = (secrets: SecretsFromFiles) =>
    LOGIN_SECTIONS.flatMap((section) =>
      checkCertificates((key) => filePaths.loginTls(section, key), secrets),
    );
  return new LoginFiles(new SecretFiles({ places, check, make, from }), credentials);
}

/** The sentinels of a section, with change detection for the files of their login. */
function withSentinelFiles(
  section: 'redis' | 'state',
  sentinel: SentinelSettings | null,
  from: FilesOfSettings,
): SentinelSettings | null {
  if (sentinel === null) return null;
  return { ...sentinel, files: loginFiles(`${section}.sentinel`, from, sentinel) };
}

/** Adds change detection to all settings that come from files. */
export function withFiles(settings: Settings, from: FilesOfSettings): Settings {
  const endpoints = Array.from(settings.endpoints, ([name, endpoint]) => {
    const inFile = from.file.endpoints[name];
    const places = inFile === undefined ? [] : secretFilesOfEndpoint(name, inFile);
    if (inFile === undefined || places.length === 0) return [name, endpoint] as const;
    const files: WatchedFiles<Endpoint> = new SecretFiles({
      places,
      check: (secrets) => [
        ...checkSecrets(name, inFile.secrets, secrets),
        ...checkCertificates((key) => filePaths.tls(name, key), secrets),
      ],
      make: (secrets) => ({ ...toEndpoint(name, inFile, secrets), files }),
      from,
    });
    return [name, { ...endpoint, files }] as const;
  });
  const redis = {
    ...settings.redis,
    files: loginFiles('redis', from, settings.redis),
    sentinel: withSentinelFiles('redis', settings.redis.sentinel, from),
  };
  const { state } = settings;
  if (state.kind === 'memory') return { ...settings, redis, endpoints: new Map(endpoints) };
  const stateRedis = {
    ...state.redis,
    files: stateFiles(from, state.redis, redis.files),
    sentinel: namesStateServer(from.file)
      ? withSentinelFiles('state', state.redis.sentinel, from)
      : redis.sentinel,
  };
  return {
    ...settings,
    redis,
    state: { ...state, redis: stateRedis },
    endpoints: new Map(endpoints),
  };
}
