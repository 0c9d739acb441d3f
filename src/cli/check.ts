import { type Check, checkFile } from '../config/load.js';
import { formatMistakes, type Mistake } from '../config/mistakes.js';
import { pluralize } from '../lib/pluralize.js';
import { printable, printableJson } from '../lib/printable.js';
import { SettingsError, UsageError } from '../model/errors.js';
import { publicKeysOf } from '../signing/sign.js';
import type { CliContext, CommandAction, FileOption } from './context.js';
import { fitted } from './screen.js';

export interface CheckOptions extends FileOption {
  /** The files to validate; empty for the default file. */
  readonly files: readonly string[];
  /** False for `--no-env`. */
  readonly env: boolean;
  /** Whether warnings fail the check. */
  readonly strict?: boolean;
  readonly json?: boolean;
}

/** Validates configuration files; exit code 1 when one has an error, or with `--strict` a warning. */
export const check: CommandAction<CheckOptions> = async (context, options) => {
  const { files, config } = options;
  if (files.length > 0 && config !== undefined) {
    throw new UsageError('specify -c FILE or files, not both');
  }
  let isValid = true;
  for (const file of files.length > 0 ? files : [config]) {
    if (!(await checkOne(context, file, options))) isValid = false;
  }
  return isValid ? 0 : 1;
};

/** Returns whether the file passes. */
async function checkOne(
  { env, cwd, stdout, stderr }: CliContext,
  file: string | undefined,
  { env: withEnvironment, strict, json }: CheckOptions,
): Promise<boolean> {
  let result: Check;
  try {
    result = await checkFile({ file, env, cwd, withEnvironment });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    if (json) stdout.write(jsonOf({ file: file ?? null, error: error.message }));
    else stderr.write(fitted(stderr, `${error.message}\n`));
    return false;
  }
  const { mistakes, warnings } = result;
  const isStrictFailure = strict === true && mistakes.length === 0 && warnings.length > 0;
  if (json) stdout.write(jsonOfCheck(result));
  else {
    const marked = warnings.map((each) => ({ ...each, message: `warning: ${each.message}` }));
    const lines = formatMistakes([...mistakes, ...marked]);
    if (lines !== '') stderr.write(fitted(stderr, `${lines}\n`));
    if (isStrictFailure) stderr.write(strictText(result));
    else if (mistakes.length === 0) stdout.write(summaryOf(result));
  }
  return mistakes.length === 0 && !isStrictFailure;
}

function strictText({ file, warnings }: Check): string {
  return `${printable(file)}: failed: --strict allows no warnings, found ${warnings.length}\n`;
}

/** By endpoint; endpoints without asymmetric secrets are left out. */
function publicKeys({ settings }: Check): readonly (readonly [string, readonly string[]])[] {
  const endpoints = [...(settings?.endpoints.values() ?? [])];
  return endpoints
    .map(({ name, secrets }) => [name, publicKeysOf(secrets)] as const)
    .filter(([, keys]) => keys.length > 0);
}

function summaryOf(result: Check): string {
  const { file, routeCount, endpointCount, warnings } = result;
  const counts = [
    pluralize(routeCount, 'route'),
    pluralize(endpointCount, 'endpoint'),
    ...(warnings.length > 0 ? [pluralize(warnings.length, 'warning')] : []),
  ];
  const keys = publicKeys(result).flatMap(([name, all]) =>
    all.map((key) => `endpoint ${name}: public key for receivers: ${key}\n`),
  );
  return `${printable(file)}: valid (${counts.join(', ')})\n${keys.join('')}`;
}

/** Programs depend on the names. */
interface JsonCheck {
  readonly file: string | null;
  /** Why the file cannot be read; null when it was. */
  readonly error?: string;
  readonly routes?: number;
  readonly endpoints?: number;
  readonly mistakes?: readonly Mistake[];
  readonly warnings?: readonly Mistake[];
  readonly keys?: Readonly<Record<string, readonly string[]>>;
}

function jsonOfCheck(result: Check): string {
  const { file, routeCount, endpointCount, mistakes, warnings } = result;
  return jsonOf({
    file,
    routes: routeCount,
    endpoints: endpointCount,
    mistakes,
    warnings,
    keys: Object.fromEntries(publicKeys(result)),
  });
}

function jsonOf(check: JsonCheck): string {
  const { file, error, routes = null, endpoints = null, mistakes = [], warnings = [] } = check;
  const placed = mistakes.map(({ line, column, message }) => ({ line, column, message }));
  const errors = error === undefined ? placed : [{ line: null, column: null, message: error }];
  return `${printableJson({
    file,
    valid: errors.length === 0,
    routes,
    endpoints,
    errors,
    warnings: warnings.map(({ line, column, message }) => ({ line, column, message })),
    public_keys: check.keys ?? {},
  })}\n`;
}
