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
      `answered 410 (gone): ${where} send${instances.length === 1 ? 's' : ''} it nothing until a ` +
        'restart; its webhooks become dead letters',
      `remove it from the file, or correct the receiver; restart ${where}; then run: ` +
        `expiry-relay dead replay --endpoint ${name} --reason gone`,
    );
  });
}
