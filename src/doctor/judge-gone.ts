/** Endpoints that returned 410 → advice. Pure. */

import { escapeUnprintable } from '../lib/printable.js';
import { type Finding, problem } from '../server/finding.js';

/** `gone`: for each endpoint, the replicas that disabled it, as `host:pid`. */
export function judgeGone(gone: ReadonlyMap<string, readonly string[]>): Finding[] {
  return [...gone].map(([endpoint, instances]) => {
    const name = escapeUnprintable(endpoint);
    const where = instances.map((one) => escapeUnprintable(one)).join(', ');
    return problem(
      `endpoint ${name}`,
      `responded 410 (gone): disabled in ${where} until a reload; its webhooks become dead letters`,
      `remove the endpoint from the file, or fix the receiver; send SIGHUP to ${where}; then run:`,
      `expiry-relay dead replay --endpoint ${name} --reason gone`,
    );
  });
}
