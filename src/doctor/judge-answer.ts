/** That a Redis answers, and which one it is. Pure. */
import { printable } from '../printable.js';
import { addressOf } from '../redis-client.js';
import { type Finding, ok } from '../server/finding.js';
import { lengthText } from '../server/wording.js';
import type { RedisAddress } from '../vocabulary.js';
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
    `${addressOf(address)} answers within ${lengthText(roundTripMs)} ` +
      `(${name} ${printable(version ?? 'of a version that it does not tell')}, ${secure})`,
  );
}
