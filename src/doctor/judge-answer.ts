/** Findings about the Redis that responds, and its software. Pure. */
import { printable } from '../lib/printable.js';
import type { RedisAddress } from '../model/vocabulary.js';
import { addressOf } from '../redis/client.js';
import { type Finding, ok, warning } from '../server/finding.js';
import { lengthText } from '../server/wording.js';
import { PASSWORD_UNUSED_ADVICE, PASSWORD_UNUSED_TEXT } from '../telemetry/process-reports.js';
import type { ServerReading } from './server.js';

export function judgeAnswer(
  reading: ServerReading,
  address: RedisAddress,
  subject: string,
): Finding {
  const { software, version, roundTripMs } = reading;
  const name = software === 'redis' ? 'Redis' : printable(software);
  const secure = address.path !== null ? 'Unix socket' : address.tls ? 'TLS' : 'no TLS';
  return ok(
    subject,
    `${addressOf(address)} responds within ${lengthText(roundTripMs)} ` +
      `(${name} ${printable(version ?? 'of unknown version')}, ${secure})`,
  );
}

/** Reports a configured password that the server does not require. */
export function judgePassword(isUnused: boolean, subject: string): Finding[] {
  return isUnused ? [warning(subject, PASSWORD_UNUSED_TEXT, PASSWORD_UNUSED_ADVICE)] : [];
}
