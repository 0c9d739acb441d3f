/** I/O: the files that hold passwords and certificates for Redis, which are read again before each login. */
import { resolve } from 'node:path';
import { messageOf } from '../model/errors.js';
import {
  LOGIN_SECTIONS,
  type LoginSection,
  type RedisCredentials,
  type RedisFiles,
  type SentinelSettings,
} from '../model/redis-login.js';
import type { Settings } from '../model/vocabulary.js';
import { NO_REGULAR_FILE, versionOf } from './file-versions.js';
import { type Complaint, problemText } from './mistakes.js';
import { type FilesRead, readSecretFiles } from './read-secrets.js';
import type { RelayFile } from './schema.js';
import {
  checkCertificates,
  filePaths,
  type SecretFile,
  type SecretsFromFiles,
  secretFilesOfLogin,
} from './secret-files.js';
import {
  credentialsOfSection,
  hasLoginOfRedis,
  namesStateServer,
  stateCredentials,
} from './settings.js';

/** The result of checking files for changes. */
type FilesNow =
  /** No change since the last check. */
  | { readonly kind: 'same' }
  | { readonly kind: 'changed'; readonly held: RedisCredentials }
  /** A file is missing, empty or invalid; `problem` is for the operator, without secrets. */
  | { readonly kind: 'unusable'; readonly problem: string };

interface SecretFilesParts {
  /** The files that are checked again. */
  readonly places: readonly SecretFile[];
  /** Checks the contents against each other. */
  readonly check: (secrets: SecretsFromFiles) => readonly Complaint[];
  readonly make: (secrets: SecretsFromFiles) => RedisCredentials;
  readonly from: FilesRead & { readonly folder: string };
}

class SecretFiles {
  readonly #parts: SecretFilesParts;
  readonly #places: readonly SecretFile[];
  /** Secrets that do not come from these files; constant. */
  readonly #kept: SecretsFromFiles;
  #versions: FilesRead['versions'];
  /** The last content of the files; null when it was unusable. */
  #held: SecretsFromFiles | null;

  constructor(parts: SecretFilesParts) {
    const { places, from } = parts;
    this.#parts = parts;
    const isKept = (key: string) => from.versions.get(key) === NO_REGULAR_FILE;
    this.#places = places.filter(({ key }) => !isKept(key));
    this.#kept = new Map(Array.from(from.secrets).filter(([key]) => isKept(key)));
    this.#versions = from.versions;
    this.#held = from.secrets;
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
      const now = await versionOf(resolve(this.#parts.from.folder, file));
      if (now !== this.#versions.get(key)) return false;
    }
    return true;
  }

  async #read(): Promise<FilesNow> {
    const { check, make, from } = this.#parts;
    const read = await readSecretFiles(this.#places, from.folder, 'regular_file');
    const secrets = new Map([...this.#kept, ...read.secrets]);
    this.#versions = read.versions;
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
  readonly #files: SecretFiles;
  #credentials: RedisCredentials;
  #isStale = false;
  #wasAccepted = false;
  #reading: Promise<unknown> = Promise.resolve();

  constructor(files: SecretFiles, credentials: RedisCredentials) {
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

/** Adds the files of all logins to Redis, which are read again before each login. */
export function withLoginFiles(settings: Settings, from: FilesOfSettings): Settings {
  const redis = {
    ...settings.redis,
    files: loginFiles('redis', from, settings.redis),
    sentinel: withSentinelFiles('redis', settings.redis.sentinel, from),
  };
  const { state } = settings;
  if (state.kind === 'memory') return { ...settings, redis };
  const stateRedis = {
    ...state.redis,
    files: stateFiles(from, state.redis, redis.files),
    sentinel: namesStateServer(from.file)
      ? withSentinelFiles('state', state.redis.sentinel, from)
      : redis.sentinel,
  };
  return { ...settings, redis, state: { ...state, redis: stateRedis } };
}
