/**
 * All connections to the admin port. Their number and behavior take little time from deliveries, and a new
 * connection gets a response soon.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.js';
import type { AdminLimit } from '../telemetry/metric-labels.js';
import { Connection, type Phase } from './connection.js';
import type { Answer, Request } from './http.js';

/**
 * Large enough that aggressive clients mostly wait: a connection closed to make room reconnects at once, and
 * accepting costs as much as responding.
 */
export const CONNECTIONS_MAX = 1_000;

/** Enough for Prometheus and probes when the open-file limit is low. */
export const CONNECTIONS_MIN = 32;

/** Each connection is an open file; `spareFiles`: files that the rest of the relay does not need. */
export function connectionsMax(spareFiles: number): number {
  return Math.min(Math.max(CONNECTIONS_MIN, spareFiles), CONNECTIONS_MAX);
}

/** The kernel may buffer megabytes of a response that its client does not read. */
const UNREAD_MAX = 16;

/**
 * Chunks written per turn, and the time between turns: 1,000 chunks a second, which takes less than a tenth of a
 * CPU. The maximum number of connections gets a response within a second.
 */
const PIECES_AT_ONCE = 10;
const TURN_MS = 10;

/** When full, the oldest connection in the first non-empty phase of this list is closed. */
const CLOSING_ORDER: readonly Phase[] = ['answered', 'asking', 'unread', 'deciding', 'waiting'];

export interface ConnectionsParts {
  readonly clock: Clock;
  readonly connectionsMax: number;
  readonly answer: (request: Request) => Answer | Promise<Answer>;
  readonly onClosed: (limit: AdminLimit) => void;
}

export class Connections {
  readonly #parts: ConnectionsParts;
  /** Each set is ordered by time in the phase, oldest first. */
  readonly #phases: Readonly<Record<Phase, Set<Connection>>> = {
    asking: new Set(),
    waiting: new Set(),
    deciding: new Set(),
    unread: new Set(),
    answered: new Set(),
  };
  #isTakingTurns = false;

  constructor(parts: ConnectionsParts) {
    this.#parts = parts;
  }

  add(socket: Socket): void {
    if (this.#count >= this.#parts.connectionsMax) this.#makeRoom();
    const { clock, answer } = this.#parts;
    const connection = new Connection({
      socket,
      clock,
      answer,
      onPhase: (moved, before) => this.#move(moved, before),
      onOver: (over) => this.#close(over, 'time'),
      onClosed: (gone) => this.#phases[gone.phase].delete(gone),
    });
    this.#phases.asking.add(connection);
  }

  closeAll(): void {
    for (const connections of Object.values(this.#phases)) {
      for (const connection of connections) connection.close();
    }
  }

  get #count(): number {
    return Object.values(this.#phases).reduce((sum, { size }) => sum + size, 0);
  }

  /** Closes one connection: the oldest waiting one if its whole response can be written at once. */
  #makeRoom(): void {
    const { answered, waiting } = this.#phases;
    const next = answered.size === 0 ? firstOf(waiting) : undefined;
    next?.proceed();
    const closed = next?.isWritten
      ? next
      : firstOf(CLOSING_ORDER.flatMap((phase) => firstOf(this.#phases[phase]) ?? []));
    if (closed !== undefined) this.#close(closed, 'connections');
  }

  #close(connection: Connection, limit: AdminLimit): void {
    if (!connection.isWritten) this.#parts.onClosed(limit);
    this.#phases[connection.phase].delete(connection);
    connection.close();
  }

  #move(connection: Connection, before: Phase): void {
    this.#phases[before].delete(connection);
    this.#phases[connection.phase].add(connection);
    const { unread } = this.#phases;
    const oldest = unread.size > UNREAD_MAX ? firstOf(unread) : undefined;
    if (oldest !== undefined) this.#close(oldest, 'unread');
    if (connection.phase === 'waiting' && !this.#isTakingTurns) this.#takeTurns();
  }

  /** Runs immediately when nothing was written recently. */
  #takeTurns(): void {
    this.#isTakingTurns = this.#phases.waiting.size > 0;
    if (!this.#isTakingTurns) return;
    for (let piece = 0; piece < PIECES_AT_ONCE; piece += 1) {
      firstOf(this.#phases.waiting)?.proceed();
    }
    this.#parts.clock.after(TURN_MS, () => this.#takeTurns());
  }
}

function firstOf<Item>(items: Iterable<Item>): Item | undefined {
  for (const item of items) return item;
  return undefined;
}
