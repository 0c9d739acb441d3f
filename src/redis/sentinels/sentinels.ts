/**
 * The sentinels of one primary. They are asked every second, after each lost connection, and when one reports a
 * failover. The primary is the server that a majority of all known sentinels names. ROLE does not show it: a primary that
 * was killed returns as a primary, and after SENTINEL FAILOVER the old one remains a primary for seconds.
 */
import type { Clock } from '../../lib/clock.js';
import { Condition } from '../../lib/condition.js';
import { PeriodicLoop } from '../../lib/periodic-loop.js';
import {
  type HostPort,
  type LoginSection,
  SENTINELS_MAX,
  type SentinelSettings,
} from '../../model/redis-login.js';
import { addressOf } from '../client.js';
import { Sentinel } from './sentinel.js';
import { count, problemOf, type Voter } from './vote.js';

/** How long the sentinels may take together to name a primary. */
const LOCATE_MS_MAX = 3_000;

/** How often their condition is reported; a failover is over sooner. */
const REPORT_EVERY_MS = 5_000;

export interface SentinelsEvents {
  /** The password or certificate files are invalid; their last valid contents are in use. */
  credentialsUnusable(problem: string): void;
  /** Another server is the primary now. */
  primaryMoved(master: string, from: string, to: string): void;
  /** The condition of the sentinels, regularly. */
  sentinels(setting: string, master: string, voters: readonly Voter[]): void;
}

export interface SentinelsParts {
  readonly settings: SentinelSettings;
  readonly section: Extract<LoginSection, `${string}.sentinel`>;
  readonly clock: Clock;
  readonly events: SentinelsEvents;
}

export class Sentinels {
  readonly #parts: SentinelsParts;
  readonly #closing = new AbortController();
  /** By address. */
  readonly #sentinels = new Map<string, Sentinel>();
  readonly #answered = new Condition();
  readonly #listeners = new Set<() => void>();
  #primary: HostPort | null = null;
  readonly #reports: PeriodicLoop;

  constructor(parts: SentinelsParts) {
    const { clock, events, section, settings } = parts;
    this.#parts = parts;
    this.#reports = new PeriodicLoop(clock, async () => {
      events.sentinels(section, settings.master, this.voters);
      return REPORT_EVERY_MS;
    });
  }

  /** The primary that a majority named last; null: none yet. */
  get primary(): HostPort | null {
    return this.#primary;
  }

  /** What each sentinel has answered last. */
  get voters(): readonly Voter[] {
    return [...this.#sentinels.values()];
  }

  /** Why no majority names a primary now; null: one does. */
  get problem(): string | null {
    const { settings, section } = this.#parts;
    const { primary, isOpen } = count(this.voters);
    if (primary !== null || isOpen) return null;
    return problemOf(this.voters, settings.master, section).message;
  }

  /** Asks all sentinels now. Resolves with the primary that a majority names; rejects with a RelayError if none does. */
  async locate(): Promise<HostPort> {
    const { settings, section, clock } = this.#parts;
    const { signal } = this.#closing;
    const startedAtMs = clock.monotonicMs();
    this.#start();
    this.#askAll();
    for (;;) {
      const voters = Array.from(this.#sentinels.values(), (each) => each.since(startedAtMs));
      const { primary, isOpen } = count(voters);
      if (primary !== null) return primary;
      const leftMs = startedAtMs + LOCATE_MS_MAX - clock.monotonicMs();
      if (!isOpen || leftMs <= 0 || signal.aborted) {
        throw problemOf(voters, settings.master, section);
      }
      await this.#answered.wait(clock, leftMs, signal);
    }
  }

  /** Resolves when every known sentinel has answered or failed, or at this monotonic time. Never rejects. */
  async allAnswered(untilMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    this.#start();
    while (count(this.voters).isOpen && clock.monotonicMs() < untilMs && !signal.aborted) {
      await this.#answered.wait(clock, untilMs - clock.monotonicMs(), signal);
    }
  }

  /** Calls `listener` at once whenever another server becomes the primary. Returns a function that ends this. */
  onMoved(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closing.abort();
    void this.#reports.stop();
    for (const sentinel of this.#sentinels.values()) sentinel.close();
  }

  #start(): void {
    if (this.#sentinels.size > 0 || this.#closing.signal.aborted) return;
    for (const node of this.#parts.settings.nodes) this.#add(node, true);
    this.#reports.start(REPORT_EVERY_MS);
  }

  #add(node: HostPort, isConfigured: boolean): void {
    const { settings, section, clock, events } = this.#parts;
    const sentinel = new Sentinel({
      node,
      isConfigured,
      settings,
      section,
      clock,
      onStale: (problem) => events.credentialsUnusable(problem),
      onAnswer: () => this.#onAnswer(),
      onSwitched: () => this.#askAll(),
    });
    this.#sentinels.set(sentinel.address, sentinel);
  }

  #askAll(): void {
    for (const sentinel of this.#sentinels.values()) sentinel.ask();
  }

  #onAnswer(): void {
    if (this.#closing.signal.aborted) return;
    this.#follow();
    const { primary } = count(this.voters);
    if (primary !== null) this.#moveTo(primary);
    this.#answered.notifyAll();
  }

  #moveTo(primary: HostPort): void {
    const before = this.#primary;
    this.#primary = primary;
    if (before === null) return;
    const [from, to] = [addressOf(before), addressOf(primary)];
    if (from === to) return;
    this.#parts.events.primaryMoved(this.#parts.settings.master, from, to);
    for (const listener of [...this.#listeners]) listener();
  }

  /** Connects to the sentinels that others report, and disconnects from those that are no longer reported. */
  #follow(): void {
    const answers = this.voters.flatMap(({ answer }) => (answer.kind === 'named' ? [answer] : []));
    if (answers.length === 0) return;
    const configured = this.voters.filter(({ isConfigured }) => isConfigured);
    const ids = new Set(configured.flatMap(({ answer }) => ('id' in answer ? answer.id : [])));
    const reported = new Map(
      answers
        .flatMap(({ others }) => others)
        .filter(({ id }) => !ids.has(id))
        .map((node) => [addressOf(node), node] as const),
    );
    for (const [address, sentinel] of this.#sentinels) {
      if (sentinel.isConfigured || reported.has(address)) continue;
      sentinel.close();
      this.#sentinels.delete(address);
    }
    for (const [address, { host, port }] of reported) {
      if (this.#sentinels.has(address) || this.#sentinels.size >= SENTINELS_MAX) continue;
      this.#add({ host, port }, false);
    }
  }
}
