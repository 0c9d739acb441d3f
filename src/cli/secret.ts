import { randomBytes } from 'node:crypto';
import { newKeyPair } from '../signing/key-pair.js';
import { SECRET_PREFIX } from '../signing/sign.js';
import type { CliContext, ExitCode } from './context.js';

/** Within the specification's range of 24–64, and equal to the output length of HMAC-SHA256. */
const NEW_SECRET_BYTES = 32;

export interface SecretOptions {
  readonly asymmetric?: boolean;
}

/** Prints a new secret on standard output; for a key pair, the public key goes to standard error. */
export async function secret(
  { stdout, stderr }: CliContext,
  { asymmetric }: SecretOptions,
): Promise<ExitCode> {
  if (asymmetric === true) {
    const { privateKey, publicKey } = newKeyPair();
    stdout.write(`${privateKey}\n`);
    stderr.write(`its public key, for those who receive: ${publicKey}\n`);
    return 0;
  }
  stdout.write(`${SECRET_PREFIX}${randomBytes(NEW_SECRET_BYTES).toString('base64')}\n`);
  return 0;
}
