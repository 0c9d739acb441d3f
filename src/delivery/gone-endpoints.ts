/** Endpoints that answered 410 to this replica. A restart resets them. */
import type { Check } from '../admin/server.js';

interface Delivering {
  readonly endpoint: string;
  readonly isGone: boolean;
}

/** An informational check: readiness does not depend on endpoints. */
export function goneChecks(workers: readonly Delivering[]): Check[] {
  const gone = workers.filter(({ isGone }) => isGone).map(({ endpoint }) => endpoint);
  if (gone.length === 0) return [];
  const note = `returned 410: ${gone.join(', ')}; the relay sends nothing to them until it restarts`;
  return [{ name: 'endpoints', problem: null, note }];
}
