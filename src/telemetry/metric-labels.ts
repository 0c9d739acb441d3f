/** The label values and buckets of the Prometheus metrics. */

import type { ValueOmission } from '../model/key-value.js';
import type { BreakerState, DetectedBy, Outcome } from '../model/vocabulary.js';
import type { StateOperation } from '../state/health.js';

export const DETECTED_BY: Readonly<Record<DetectedBy, true>> = {
  notification: true,
  recovery: true,
};
export const VALUE_OMISSIONS: Readonly<Record<ValueOmission, true>> = {
  too_large: true,
  gone: true,
  unsupported: true,
  forbidden: true,
  unavailable: true,
};
export const OUTCOMES: Readonly<Record<Outcome['kind'], true>> = {
  accepted: true,
  rejected: true,
  unreachable: true,
};

/** The values of the metric `breaker_state`. */
export const BREAKER_STATES: Readonly<Record<BreakerState, number>> = {
  closed: 0,
  half_open: 1,
  open: 2,
};

/** The limits for which the admin port closes connections. */
export const ADMIN_LIMITS = ['connections', 'time', 'unread'] as const;
export type AdminLimit = (typeof ADMIN_LIMITS)[number];

/** From a receiver on the same machine to the longest usual timeout. */
export const DURATION_BUCKETS_S = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15,
];

export const STATE_OPERATIONS: Readonly<Record<StateOperation, true>> = {
  connect: true,
  verify: true,
  enqueue: true,
  claim: true,
  track: true,
  watch: true,
  settle: true,
  heartbeat: true,
  reclaim: true,
  maintenance: true,
  depth: true,
  dead_letters: true,
  pauses: true,
};

/** The reasons for which dead letters are deleted: older than the retention, or too many. */
export const PRUNE_REASONS = ['age', 'count'] as const;

/** From the resolution of timers to a backlog of minutes. */
export const LATENESS_BUCKETS_S = [
  0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600,
];
