/** The closed sets of label values, and the buckets, of the Prometheus metrics. */

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
  refused: true,
  unreachable: true,
};

/** What the metric `breaker_state` is in each state. */
export const BREAKER_STATES: Readonly<Record<BreakerState, number>> = {
  closed: 0,
  half_open: 1,
  open: 2,
};

/** Which limit a connection to the admin port had passed when the relay closed it. */
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
  beat: true,
  reclaim: true,
  upkeep: true,
  depth: true,
  dead_letters: true,
};

/** Why dead letters are forgotten: older ones than are kept, or more. */
export const FORGOTTEN_WHY = ['age', 'count'] as const;

/** From the timer's own grain to a backlog of minutes. */
export const LATENESS_BUCKETS_S = [
  0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600,
];
