import { randomBytes } from 'node:crypto';
import { newKeyPair } from '../signing/key-pair.js';
import { SECRET_PREFIX } from '../signing/sign.js';
import type { CliContext, ExitCode } from './context.js';

/** Within the specification's range of 24–64, and equal to the output length of HMAC-SHA256. */
const NEW_SECRET_BYTES = 32;

export interface SecretOptions {
  readonly asymmetric?: boolean;
  readonly json?: boolean;
}

/** Prints a new secret on standard output; the public key of a key pair goes to standard error. */
export async function secret(
  { stdout, stderr }: CliContext,
  { asymmetric, json }: SecretOptions,
): Promise<ExitCode> {
  const made = asymmetric ? newKeyPair() : { privateKey: newSecret(), publicKey: null };
  if (json) {
    stdout.write(`${JSON.stringify({ secret: made.privateKey, public_key: made.publicKey })}\n`);
    return 0;
  }
  stdout.write(`${made.privateKey}\n`);
  if (made.publicKey !== null) stderr.write(`public key for receivers: ${made.publicKey}\n`);
  return 0;
}

function newSecret(): string {
  return SECRET_PREFIX + randomBytes(NEW_SECRET_BYTES).toString('base64');
}
