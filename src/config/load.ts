/** I/O: finds and reads the configuration and its secret files, and reports every error. */
import { dirname, join, resolve } from 'node:path';
import { printable } from '../lib/printable.js';
import { defectNote } from '../lib/text-defect.js';
import { NoSettingsFileError, SettingsError, UsageError } from '../model/errors.js';
import { LOGIN_SECTIONS } from '../model/redis-login.js';
import type { ListenAddress, Settings } from '../model/vocabulary.js';
import { withoutEmptyTexts, withoutOwnKeys } from './absent.js';
import { readListenAddress } from './addresses.js';
import { parseDocument } from './document.js';
import { extraCaProblem } from './extra-ca.js';
import { type FileVersion, type FileVersions, versionOf } from './file-versions.js';
import { type Environment, interpolate } from './interpolate.js';
import { lint } from './lints.js';
import { withLoginFiles } from './login-files.js';
import {
  type Complaint,
  type Context,
  formatMistakes,
  type Mistake,
  problemText,
  syntaxMistake,
  toMistake,
} from './mistakes.js';
import { asList, asMapping, type Path, valueAt } from './path.js';
import { hintAtNames } from './placeholder-hints.js';
import { readText, type TextSource } from './read-file.js';
import { type FilesRead, NO_PIPES, readSecretFiles, type SecretsOfPipes } from './read-secrets.js';
import { DEFAULT_ADMIN_LISTEN, type RelayFile } from './schema.js';
import {
  checkAllSecrets,
  checkCertificates,
  filePaths,
  type SecretFile,
  secretFilesOf,
  type TlsKey,
} from './secret-files.js';
import { toSettings } from './settings.js';
import { validate } from './validate.js';

/** A thousand routes with comments fit; a larger file is not a configuration. */
export const FILE_BYTES_MAX = 256 * 1024;

export const FILE_VARIABLE = 'EXPIRY_RELAY_CONFIG';
const DEFAULT_FOLDERS = ['', '/etc/expiry-relay'] as const;
const DEFAULT_NAMES = ['relay.yaml', 'expiry-relay.yaml'] as const;

/** The result of a check. */
export interface Check {
  /** The file as named, or as found. */
  readonly file: string;
  readonly routeCount: number;
  readonly endpointCount: number;
  readonly mistakes: readonly Mistake[];
  /** Empty while there are mistakes. */
  readonly warnings: readonly Mistake[];
  /** Null when there are mistakes, or the environment is not known. */
  readonly settings: Settings | null;
}

/** A check, and what a running relay needs to load the same file again. */
export interface Examined extends Check {
  /** The parsed file; null if it is invalid. */
  readonly parsed: RelayFile | null;
  /** The file, and each file that it names, by absolute path. */
  readonly versions: FileVersions;
  readonly pipes: SecretsOfPipes;
  /** The first problem of the files of each endpoint, by the endpoint's name. */
  readonly endpointProblems: ReadonlyMap<string, string>;
}

/** The path of each `tls` section's keys in the configuration. */
function tlsSections(root: unknown): readonly ((key: TlsKey) => Path)[] {
  const names = Object.keys(asMapping(asMapping(root)?.endpoints) ?? {});
  return [
    ...LOGIN_SECTIONS.map((section) => (key: TlsKey) => filePaths.loginTls(section, key)),
    ...names.map((name) => (key: TlsKey) => filePaths.tls(name, key)),
  ];
}

/** A valid configuration. */
export interface Loaded extends Pick<Examined, 'file' | 'versions' | 'pipes'> {
  readonly settings: Settings;
  readonly parsed: RelayFile;
}

export interface LoadOptions {
  /** The value of `-c`. */
  readonly file: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
}

interface ExamineOptions extends LoadOptions {
  /** False to leave environment variables and secret files unread; they need not exist. */
  readonly withEnvironment: boolean;
  /** Which files may be read; by default any. */
  readonly source?: TextSource;
  /** The secrets that an earlier load has read from pipes. */
  readonly pipes?: SecretsOfPipes;
}

interface Chosen {
  /** As named, or as found. */
  readonly file: string;
  readonly text: string;
  readonly version: FileVersion;
}

async function examineText(
  { file, text, version }: Chosen,
  options: ExamineOptions,
): Promise<Examined> {
  const { env, cwd, withEnvironment, source = 'any', pipes = NO_PIPES } = options;
  const shown = printable(file);
  const document = parseDocument(text);
  const syntax = document.mistakes.map(({ position, wording }) =>
    syntaxMistake(shown, position, wording),
  );
  const own = new Map([[resolve(cwd, file), version]]);
  if (document.kind === 'broken') {
    return {
      file,
      routeCount: 0,
      endpointCount: 0,
      mistakes: syntax,
      warnings: [],
      settings: null,
      parsed: null,
      versions: own,
      pipes,
      endpointProblems: new Map(),
    };
  }
  const written = withoutOwnKeys(document.value);
  const interpolated = interpolate(written, withEnvironment ? env : null);
  const value = withoutEmptyTexts(interpolated.value);
  const context: Context = {
    file: shown,
    value,
    interpolated: interpolated.changed,
    portLinks: interpolated.portLinks,
    positionOf: document.positionOf,
  };
  const locate = (complaint: Complaint) => toMistake(complaint, context);
  const validation = validate(value);
  const folder = dirname(resolve(cwd, file));
  const places = withEnvironment ? secretFilesOf(value) : [];
  const fromFiles = await readSecretFiles(places, folder, source, pipes);
  const ofFiles = [
    ...fromFiles.complaints,
    ...checkAllSecrets(value, fromFiles.secrets),
    ...tlsSections(value).flatMap((pathOf) => checkCertificates(pathOf, fromFiles.secrets)),
  ];
  const complaints = [
    ...interpolated.complaints.map(
      (each): Complaint => ({ ...hintAtNames(value, each), about: 'value' }),
    ),
    ...(validation.ok ? [] : validation.complaints),
    ...ofFiles,
  ];
  const mistakes = syntax.concat(complaints.map(locate));
  const check = {
    file,
    routeCount: asList(asMapping(value)?.routes).length,
    endpointCount: Object.keys(asMapping(asMapping(value)?.endpoints) ?? {}).length,
    mistakes,
    warnings: mistakes.length > 0 ? [] : lint(value).map(locate),
    versions: new Map([...own, ...versionsByPath(places, folder, fromFiles)]),
    pipes: fromFiles.pipes,
    endpointProblems: problemsOfEndpoints(ofFiles),
  };
  if (!validation.ok || mistakes.length > 0 || !withEnvironment) {
    return { ...check, settings: null, parsed: null };
  }
  const problem = await extraCaProblem(env, cwd);
  const settings = toSettings(validation.file, fromFiles.secrets, problem);
  const from = { ...fromFiles, file: validation.file, folder, extraCaProblem: problem };
  return { ...check, settings: withLoginFiles(settings, from), parsed: validation.file };
}

function versionsByPath(
  places: readonly SecretFile[],
  folder: string,
  { versions }: FilesRead,
): FileVersions {
  return new Map(
    places.flatMap(({ key, file }) => {
      const version = versions.get(key);
      return version === undefined ? [] : [[resolve(folder, file), version] as const];
    }),
  );
}

/** The first of the complaints about each endpoint. */
function problemsOfEndpoints(complaints: readonly Complaint[]): ReadonlyMap<string, string> {
  const problems = new Map<string, string>();
  for (const complaint of complaints) {
    const [section, name] = complaint.path;
    if (section !== 'endpoints' || problems.has(String(name))) continue;
    problems.set(String(name), problemText(complaint));
  }
  return problems;
}

function unreadable(file: string, reason: string): SettingsError {
  return new SettingsError(`${printable(file)}: cannot be read: ${reason}${defectNote(file)}`);
}

/** Chooses the configuration file and reads it. */
async function readChosen(
  { file, env, cwd }: LoadOptions,
  source: TextSource = 'any',
): Promise<Chosen> {
  const readAt = async (name: string) => {
    const path = resolve(cwd, name);
    // Taken before the content is read, so that changes made meanwhile are noticed.
    const version = await versionOf(path);
    return { version, ...(await readText(path, FILE_BYTES_MAX, source)) };
  };
  if (file === '') throw new UsageError('-c: expected the name of a file, found an empty string');
  const named = file ?? (env[FILE_VARIABLE] || undefined);
  if (named !== undefined) {
    const read = await readAt(named);
    if (read.ok) return { file: named, text: read.text, version: read.version };
    throw unreadable(named, read.reason);
  }
  for (const folder of DEFAULT_FOLDERS) {
    const found: Chosen[] = [];
    for (const name of DEFAULT_NAMES) {
      const candidate = join(folder, name);
      const read = await readAt(candidate);
      if (read.ok) found.push({ file: candidate, text: read.text, version: read.version });
      else if (read.code !== 'ENOENT') throw unreadable(candidate, read.reason);
    }
    const [first, second] = found;
    if (first !== undefined && second !== undefined) {
      throw new SettingsError(
        `${first.file}: ${second.file} exists as well: delete one of them, or specify one with ` +
          `-c FILE or ${FILE_VARIABLE}`,
      );
    }
    if (first !== undefined) return first;
  }
  throw new NoSettingsFileError(
    `no configuration file: found no ${DEFAULT_NAMES.join(' or ')} in ${printable(cwd)} or ` +
      `${DEFAULT_FOLDERS[1]}. Create one with expiry-relay init, or specify one with -c FILE or ` +
      FILE_VARIABLE,
  );
}

/**
 * Checks one file.
 *
 * @throws UsageError when the file's name is empty
 * @throws SettingsError when there is no file, or it cannot be read
 */
export async function checkFile(options: ExamineOptions): Promise<Examined> {
  return examineText(await readChosen(options, options.source), options);
}

/**
 * Reads `admin.listen` from the file that `loadSettings` uses. Other errors in the configuration are ignored: a
 * running relay must not appear dead while its file is edited.
 *
 * @throws SettingsError when there is no file, or its `admin.listen` is invalid
 */
export async function loadAdminAddress(options: LoadOptions): Promise<ListenAddress> {
  const { file, text } = await readChosen(options);
  const document = parseDocument(text);
  const read = document.kind === 'broken' ? {} : interpolate(document.value, options.env).value;
  const root = withoutEmptyTexts(read);
  const listen = valueAt(root, ['admin', 'listen']);
  const address = typeof listen === 'string' ? listen : DEFAULT_ADMIN_LISTEN;
  const reading = readListenAddress(address);
  if (reading.ok) return reading.value;
  const note = defectNote(address);
  throw new SettingsError(`${printable(file)}: admin.listen cannot be understood${note}`);
}

/**
 * Loads the settings and returns the file's name as given. The file is `file` (the value of `-c`), else
 * `$EXPIRY_RELAY_CONFIG`, else the default file that exists.
 *
 * @throws UsageError when `file` is empty
 * @throws SettingsError whose message has a line for every error, by position
 */
export async function loadSettings(options: LoadOptions): Promise<Loaded> {
  return loadedOf(await checkFile({ ...options, withEnvironment: true }));
}

/** Throws SettingsError if the file is invalid. */
export function loadedOf({ file, settings, parsed, versions, pipes, mistakes }: Examined): Loaded {
  if (settings === null || parsed === null) throw new SettingsError(formatMistakes(mistakes));
  return { file, settings, parsed, versions, pipes };
}
