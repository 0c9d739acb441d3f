import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Document } from 'yaml';
import { readEndpointUrl, readRedisUrl } from '../config/addresses.js';
import { printable } from '../lib/printable.js';
import { codeOf, messageOf, SettingsError, UsageError } from '../model/errors.js';
import { compilePattern, PatternError } from '../routing/pattern.js';
import type { CommandAction } from './context.js';

export interface InitOptions {
  readonly file: string;
  readonly redis: string;
  readonly url: string;
  readonly match: string;
}

const SECRET_VARIABLE = 'WEBHOOK_SECRET';

/** Writes a minimal configuration file; never overwrites one. */
export const init: CommandAction<InitOptions> = async ({ cwd, stdout }, options) => {
  const { file, redis, url, match } = options;
  if (!readRedisUrl(redis).ok) {
    throw new UsageError('--redis: expected a Redis URL such as redis://127.0.0.1:6379');
  }
  if (!readEndpointUrl(url).ok) {
    throw new UsageError('--url: expected a URL such as http://127.0.0.1:8080/hooks');
  }
  if (!isPattern(match)) {
    throw new UsageError('--match: expected a glob pattern such as order:{id}:unpaid');
  }
  const document = new Document({
    redis: { url: redis },
    endpoints: { app: { url, secrets: [`\${${SECRET_VARIABLE}}`] } },
    routes: [{ name: 'expired', match, to: 'app' }],
  });
  document.commentBefore =
    ' Every key is described in relay.example.yaml, and in the output of: expiry-relay schema';
  try {
    await writeFile(resolve(cwd, file), document.toString(), { flag: 'wx' });
  } catch (error) {
    throw new SettingsError(`${printable(file)}: ${writeFailure(error)}`);
  }
  const option = file === 'relay.yaml' ? '' : ` -c ${printable(file)}`;
  stdout.write(`${printable(file)}: created

Next steps:
  1. Set the signing secret:      export ${SECRET_VARIABLE}="$(expiry-relay secret)"
  2. Validate the file:           expiry-relay check${option}
  3. Show what a key would send:  expiry-relay match KEY${option}
  4. Check Redis and endpoints:   expiry-relay doctor${option}
  5. Start the relay:             expiry-relay run${option}
`);
  return 0;
};

function writeFailure(error: unknown): string {
  switch (codeOf(error)) {
    case 'EEXIST':
      return 'already exists. To create another file, run: expiry-relay init FILE';
    case 'ENOENT':
      return 'cannot be written: its directory does not exist';
    default:
      return `cannot be written: ${messageOf(error)}`;
  }
}

function isPattern(text: string): boolean {
  try {
    compilePattern(text);
    return true;
  } catch (thrown) {
    if (thrown instanceof PatternError) return false;
    throw thrown;
  }
}
