import { type Check, checkFile } from '../config/load.js';
import { formatMistakes } from '../config/mistakes.js';
import { pluralize } from '../lib/pluralize.js';
import { printable } from '../lib/printable.js';
import { SettingsError, UsageError } from '../model/errors.js';
import { publicKeysOf } from '../signing/sign.js';
import type { CliContext, CommandAction, FileOption } from './context.js';

export interface CheckOptions extends FileOption {
  /** The files to validate; empty for the default file. */
  readonly files: readonly string[];
  /** False for `--no-env`. */
  readonly env: boolean;
  /** Whether warnings fail the check. */
  readonly strict?: boolean;
}

/** Validates configuration files; exit code 1 when one has an error, or with `--strict` a warning. */
export const check: CommandAction<CheckOptions> = async (context, options) => {
  const { files, config, strict } = options;
  if (files.length > 0 && config !== undefined) {
    throw new UsageError('expected -c FILE or files, found both');
  }
  let isValid = true;
  for (const file of files.length > 0 ? files : [config]) {
    const result = await checkOne(context, file, options);
    if (result === null || result.mistakes.length > 0) isValid = false;
    else if (strict && result.warnings.length > 0) isValid = false;
  }
  return isValid ? 0 : 1;
};

/** Null when the file cannot be read. */
async function checkOne(
  { env, cwd, stdout, stderr }: CliContext,
  file: string | undefined,
  options: CheckOptions,
): Promise<Check | null> {
  let result: Check;
  try {
    result = await checkFile({ file, env, cwd, withEnvironment: options.env });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    stderr.write(`${error.message}\n`);
    return null;
  }
  const { mistakes, warnings } = result;
  const marked = warnings.map((each) => ({ ...each, message: `warning: ${each.message}` }));
  const lines = formatMistakes([...mistakes, ...marked]);
  if (lines !== '') stderr.write(`${lines}\n`);
  if (mistakes.length > 0) return result;
  const counts = [
    pluralize(result.routeCount, 'route'),
    pluralize(result.endpointCount, 'endpoint'),
    ...(warnings.length > 0 ? [pluralize(warnings.length, 'warning')] : []),
  ];
  stdout.write(`${printable(result.file)}: valid (${counts.join(', ')})\n`);
  for (const { name, secrets } of result.settings?.endpoints.values() ?? []) {
    for (const publicKey of publicKeysOf(secrets)) {
      stdout.write(`endpoint ${name}: its receivers verify with ${publicKey}\n`);
    }
  }
  return result;
}
