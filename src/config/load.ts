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
import { type Environment, interpolate } from './interpolate.js';
import { lint } from './lints.js';
import { readSecretFiles, withFiles } from './live-files.js';
import {
  type Complaint,
  type Context,
  formatMistakes,
  type Mistake,
  syntaxMistake,
  toMistake,
} from './mistakes.js';
import { asList, asMapping, type Path, valueAt } from './path.js';
import { hintAtNames } from './placeholder-hints.js';
import { readText } from './read-file.js';
import { DEFAULT_ADMIN_LISTEN } from './schema.js';
import {
  checkAllSecrets,
  checkCertificates,
  filePaths,
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

/** The path of each `tls` section's keys in the configuration. */
function tlsSections(root: unknown): readonly ((key: TlsKey) => Path)[] {
  const names = Object.keys(asMapping(asMapping(root)?.endpoints) ?? {});
  return [
    ...LOGIN_SECTIONS.map((section) => (key: TlsKey) => filePaths.loginTls(section, key)),
    ...names.map((name) => (key: TlsKey) => filePaths.tls(name, key)),
  ];
}

interface LoadOptions {
  /** The value of `-c`. */
  readonly file: string | undefined;
  readonly env: Environment;
  readonly cwd: string;
}

interface CheckOptions extends LoadOptions {
  /** False to leave environment variables and secret files unread; they need not exist. */
  readonly withEnvironment: boolean;
}

interface Chosen {
  /** As named, or as found. */
  readonly file: string;
  readonly text: string;
}

async function checkText({ file, text }: Chosen, options: CheckOptions): Promise<Check> {
  const { env, cwd, withEnvironment } = options;
  const shown = printable(file);
  const document = parseDocument(text);
  const syntax = document.mistakes.map(({ position, wording }) =>
    syntaxMistake(shown, position, wording),
  );
  const nothing = { file, routeCount: 0, endpointCount: 0, warnings: [], settings: null };
  if (document.kind === 'broken') return { ...nothing, mistakes: syntax };
  const own = withoutOwnKeys(document.value);
  const interpolated = interpolate(own, withEnvironment ? env : null);
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
  const fromFiles = await readSecretFiles(places, folder, 'any');
  const complaints = [
    ...interpolated.complaints.map(
      (each): Complaint => ({ ...hintAtNames(value, each), about: 'value' }),
    ),
    ...(validation.ok ? [] : validation.complaints),
    ...fromFiles.complaints,
    ...checkAllSecrets(value, fromFiles.secrets),
    ...tlsSections(value).flatMap((pathOf) => checkCertificates(pathOf, fromFiles.secrets)),
  ];
  const mistakes = syntax.concat(complaints.map(locate));
  const check = {
    file,
    routeCount: asList(asMapping(value)?.routes).length,
    endpointCount: Object.keys(asMapping(asMapping(value)?.endpoints) ?? {}).length,
    mistakes,
    warnings: mistakes.length > 0 ? [] : lint(value).map(locate),
  };
  if (!validation.ok || mistakes.length > 0 || !withEnvironment) {
    return { ...check, settings: null };
  }
  const problem = await extraCaProblem(env, cwd);
  const settings = toSettings(validation.file, fromFiles.secrets, problem);
  const from = { ...fromFiles, file: validation.file, folder, extraCaProblem: problem };
  return { ...check, settings: withFiles(settings, from) };
}

function unreadable(file: string, reason: string): SettingsError {
  return new SettingsError(`${printable(file)}: cannot be read: ${reason}${defectNote(file)}`);
}

/** Chooses the configuration file and reads it. */
async function readChosen({ file, env, cwd }: LoadOptions): Promise<Chosen> {
  if (file === '') throw new UsageError('-c: expected the name of a file, found an empty string');
  const named = file ?? (env[FILE_VARIABLE] || undefined);
  if (named !== undefined) {
    const read = await readText(resolve(cwd, named), FILE_BYTES_MAX, 'any');
    if (read.ok) return { file: named, text: read.text };
    throw unreadable(named, read.reason);
  }
  for (const folder of DEFAULT_FOLDERS) {
    const found: Chosen[] = [];
    for (const name of DEFAULT_NAMES) {
      const candidate = join(folder, name);
      const read = await readText(resolve(cwd, candidate), FILE_BYTES_MAX, 'any');
      if (read.ok) found.push({ file: candidate, text: read.text });
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
export async function checkFile(options: CheckOptions): Promise<Check> {
  return checkText(await readChosen(options), options);
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
export async function loadSettings(
  options: LoadOptions,
): Promise<{ file: string; settings: Settings }> {
  const { file, settings, mistakes } = await checkFile({ ...options, withEnvironment: true });
  if (settings === null) throw new SettingsError(formatMistakes(mistakes));
  return { file, settings };
}
