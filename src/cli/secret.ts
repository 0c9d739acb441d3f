import { randomBytes } from 'node:crypto';
import { SECRET_PREFIX } from '../delivery/sign.js';
import type { CliContext, ExitCode } from './context.js';

/** Within the specification's 24–64, and as long as HMAC-SHA256's output. */
const NEW_SECRET_BYTES = 32;

/** A new secret on standard output. */
export async function secret({ stdout }: CliContext): Promise<ExitCode> {
  stdout.write(`${SECRET_PREFIX}${randomBytes(NEW_SECRET_BYTES).toString('base64')}\n`);
  return 0;
}
