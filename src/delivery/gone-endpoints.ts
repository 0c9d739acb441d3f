/** Endpoints that answered 410 to this replica. A reload resets them. */
import type { Check } from '../admin/server.js';

/** An informational check: readiness does not depend on endpoints. */
export function goneChecks(gone: readonly string[]): Check[] {
  if (gone.length === 0) return [];
  const note = `returned 410: ${gone.join(', ')}; the relay sends nothing to them until a reload`;
  return [{ name: 'endpoints', problem: null, note }];
}
