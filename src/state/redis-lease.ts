/**
 * The lease in the state Redis. Each holder has a new token, and every script that captures checks it. So a replica
 * that was suspended, and does not know yet that it has lost the lease, changes nothing. lease-scripts.ts decides which
 * replica gets the lease.
 */
import type { Clock } from '../lib/clock.js';
import { Condition } from '../lib/condition.js';
import type { Configuration } from '../model/configuration.js';
import { defineScripts, type Scripts } from '../redis/scripts.js';
import { configurationsKey, leaseKey, quarantineKey, watchKey } from './format.js';
import { ignoreTrouble } from './health.js';
import type { Lease, Standing } from './lease.js';
import { endpointsText, LEASE_SCRIPTS, type Look, readLook, STATUSES } from './lease-scripts.js';
import type { RedisState } from './redis-state.js';
import { Unchanged } from './unchanged.js';

/** A holder whose renewals have not been seen for this long has lost the lease. A holder may miss one look. */
export const LEASE_MS = 1_500;

/** How often every replica looks at the lease. The holder's looks renew it. */
export const LOOK_EVERY_MS = 500;

/** How often a replica tries its first look. Until one succeeds, the relay is not ready. */
const FIRST_LOOK_EVERY_MS = 50;

/**
 * A replica leaves a free lease to another that has been able to capture for longer: the other one may have received
 * expirations that this one missed and the last holder did not store. After this time a replica takes the lease at
 * once: no replay buffer goes back further.
 */
export const REMEMBERS_ALL_AFTER_MS = 20_000;

/**
 * A replica whose looks have not been seen for this long is absent: the lease is not left or handed to it. Shorter than
 * LEASE_MS: a replica that died with the holder is known to be absent when the lease becomes free.
 */
export const ABSENT_AFTER_MS = 1_000;

/**
 * A replica whose looks have not been seen for this long does not run, and its configuration no longer counts. Long
 * enough for a state Redis that is unavailable for a few seconds.
 */
export const FORGOTTEN_AFTER_MS = 10_000;

/**
 * A holder that has had a gap of one of several primaries keeps the lease for this long. All replicas notice the failover
 * of a primary by then: none of them has listened for longer.
 */
export const GAP_NOTICED_MS = 3_000;

/** The name under which the lease's renewals are observed, beside the replicas. No replica has this name. */
const RENEWALS = 'lease';

const CURRENT: Standing = { kind: 'current' };

export interface RedisLeaseParts {
  readonly state: RedisState;
  /** This replica's name, unlike any other's. */
  readonly replica: string;
  /** Returns the current configuration of this replica. */
  readonly configuration: () => Configuration;
  readonly clock: Clock;
  /** Called after each look, with how many configurations run. */
  readonly onLook: (standing: Standing, configurations: number) => void;
}

/** This replica's relation to the lease. `former`: a token that is no longer used, and is to be released in Redis. */
type Tenure =
  /** This replica does not compete. */
  | { readonly kind: 'idle'; readonly former: string | null }
  | (Listening & { readonly kind: 'competing'; readonly former: string | null })
  /** `isDue`: the lease is to be handed to another replica. `hadGap`: of one of several primaries, since it was taken. */
  | (Listening & {
      readonly kind: 'held';
      readonly token: string;
      readonly isDue: boolean;
      readonly hadGap: boolean;
    });

interface Listening {
  /** Since when this replica has listened as it does now, by the monotonic clock. */
  readonly sinceMs: number;
  /** Whether it listens to all primaries. */
  readonly hearsAll: boolean;
}

export class RedisLease implements Lease {
  readonly #parts: RedisLeaseParts;
  readonly #scripts: Scripts<typeof LEASE_SCRIPTS>;
  readonly #stop = new AbortController();
  readonly #seen = new Unchanged();
  /** The lease is taken or lost, or is due. */
  readonly #changed = new Condition();
  /** The lease is to be looked at. */
  readonly #wake = new Condition();
  #tenure: Tenure = { kind: 'idle', former: null };
  #tokens = 0;
  /** What the last look found; null before the first. */
  #last: Look | null = null;
  /** The digest of the configuration that the last look published; empty before the first. */
  #digest = '';
  #standing: Standing | null = null;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: RedisLeaseParts) {
    this.#parts = parts;
    this.#scripts = defineScripts(parts.state.redis, LEASE_SCRIPTS);
  }

  get token(): string | null {
    return this.#tenure.kind === 'held' ? this.#tenure.token : null;
  }

  get generation(): number | null {
    return this.#tenure.kind === 'held' ? (this.#last?.generation ?? null) : null;
  }

  get number(): number | null {
    return this.#isPublished(this.#parts.configuration()) ? (this.#last?.number ?? null) : null;
  }

  get isHeldByOther(): boolean {
    return this.#last?.status === STATUSES.other;
  }

  /** The standing of this replica's configuration; null before the first look. */
  get standing(): Standing | null {
    return this.#standing;
  }

  start(): void {
    this.#loop = this.#run();
  }

  compete(hearsAll: boolean): void {
    const tenure = this.#tenure;
    const sinceMs = this.#nowMs;
    this.#tenure =
      tenure.kind === 'held'
        ? { ...tenure, sinceMs, hearsAll, hadGap: true }
        : { kind: 'competing', sinceMs, hearsAll, former: tenure.former };
    this.#wake.notifyAll();
  }

  withdraw(): void {
    const tenure = this.#tenure;
    const former = tenure.kind === 'held' ? tenure.token : tenure.former;
    this.#parts.state.clearLeaseErrors();
    this.#tenure = { kind: 'idle', former };
    if (tenure.kind === 'held') this.#changed.notifyAll();
    this.#wake.notifyAll();
  }

  taken(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.token !== null, signal);
  }

  lost(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.token === null, signal);
  }

  due(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#tenure.kind !== 'held' || this.#tenure.isDue, signal);
  }

  delivers(endpoint: string): boolean {
    const url = this.#last?.endpoints?.get(endpoint);
    return url === undefined || url === this.#parts.configuration().endpoints.get(endpoint);
  }

  reconfigure(): void {
    this.#wake.notifyAll();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.withdraw();
    await ignoreTrouble(async () => {
      await this.#release();
      const { state, replica } = this.#parts;
      const key = configurationsKey(state.prefix);
      await state.run('watch', () => this.#scripts.leaseDepart([key], [replica]));
    });
  }

  get #nowMs(): number {
    return this.#parts.clock.monotonicMs();
  }

  async #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    while (!isSo() && !signal.aborted) await this.#changed.wait(this.#parts.clock, null, signal);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const { version } = this.#wake;
      // Null: no look succeeded, and changes may have gone unseen.
      let lookInMs: number | null = null;
      await this.#parts.state.pass('lease', async () => {
        await this.#release();
        lookInMs = await this.#look();
      });
      if (lookInMs === null) this.#seen.renew(this.#nowMs);
      if (this.#wake.version !== version) continue;
      const againInMs = this.#last === null ? FIRST_LOOK_EVERY_MS : LOOK_EVERY_MS;
      await this.#wake.wait(this.#parts.clock, lookInMs ?? againInMs, signal);
    }
  }

  /**
   * Records that this replica runs. Takes the lease if it is free, and renews it if this replica holds it. Resolves with
   * the time until the next look, in milliseconds.
   */
  async #look(): Promise<number> {
    const { state, replica } = this.#parts;
    const configuration = this.#parts.configuration();
    const number = this.#isPublished(configuration) ? (this.#last?.number ?? 0) : 0;
    const tenure = this.#tenure;
    const isHeld = tenure.kind === 'held';
    if (!isHeld) this.#tokens += 1;
    const token = isHeld ? tenure.token : `${replica}:${this.#tokens}`;
    const { ableForMs, leaves } = this.#ability(tenure);
    const stale =
      this.#seen.forMs(RENEWALS, this.#nowMs) >= LEASE_MS ? (this.#last?.renewals ?? '') : '';
    const absent = this.#unseenFor(ABSENT_AFTER_MS);
    const { prefix } = state;
    const reply = await state.run('watch', () =>
      this.#scripts.leaseLook(
        [leaseKey(prefix), configurationsKey(prefix), watchKey(prefix), quarantineKey(prefix)],
        [
          token,
          replica,
          configuration.digest,
          endpointsText(configuration.endpoints),
          number,
          ableForMs,
          leaves ? 1 : 0,
          stale,
          isHeld ? 1 : 0,
          absent.length / 2,
          ...absent,
          ...this.#unseenFor(FORGOTTEN_AFTER_MS),
        ],
      ),
    );
    const look = readLook(reply);
    this.#note(look);
    this.#digest = configuration.digest;
    const hasTaken = look.status === STATUSES.held || look.status === STATUSES.due;
    if (!hasTaken) this.#lose();
    else this.#hold(tenure, token, look.status === STATUSES.due);
    this.#stand();
    if (look.status !== STATUSES.other) return LOOK_EVERY_MS;
    const leftMs = LEASE_MS - this.#seen.forMs(RENEWALS, this.#nowMs);
    return leftMs > 0 ? Math.min(leftMs + 1, LOOK_EVERY_MS) : LOOK_EVERY_MS;
  }

  /** Whether the last look was one with this configuration. */
  #isPublished({ digest }: Configuration): boolean {
    return this.#digest === digest;
  }

  /** For how long this replica has been able to capture (-1: not), and whether it leaves the lease to one with longer. */
  #ability(tenure: Tenure): { readonly ableForMs: number; readonly leaves: boolean } {
    if (tenure.kind === 'idle') return { ableForMs: -1, leaves: true };
    const sameForMs = Math.round(this.#nowMs - tenure.sinceMs);
    const ableForMs = tenure.hearsAll ? sameForMs : 0;
    const misses = tenure.kind === 'held' && (tenure.hadGap || !tenure.hearsAll);
    const isNoticed = misses && sameForMs >= GAP_NOTICED_MS;
    // Who listens for longer is only asked when the lease is taken: a moment more or less is no reason to hand it over.
    const mayLeave = tenure.kind === 'competing' || isNoticed;
    return { ableForMs, leaves: mayLeave && ableForMs < REMEMBERS_ALL_AFTER_MS };
  }

  /** Records a look, to compare later ones with it. */
  #note(look: Look): void {
    this.#last = look;
    const values = new Map(look.others.map(({ name, looks }) => [name, looks]));
    values.set(RENEWALS, look.renewals);
    // An age beyond that is of a clock that was set, or of a time when nobody could renew it.
    const isRecent = look.ageMs >= 0 && look.ageMs <= LOOK_EVERY_MS;
    this.#seen.update(values, this.#nowMs, (name) =>
      name === RENEWALS && isRecent ? look.ageMs : 0,
    );
  }

  /** The name and looks of each replica whose looks have not been seen for this long. */
  #unseenFor(ms: number): string[] {
    const others = this.#last?.others ?? [];
    return others.flatMap(({ name, looks }) =>
      this.#seen.forMs(name, this.#nowMs) >= ms ? [name, looks] : [],
    );
  }

  #stand(): void {
    const { onLook } = this.#parts;
    const look = this.#last;
    if (look === null) return;
    const running = look.others.filter(
      ({ name }) =>
        this.#seen.hasChanged(name) && this.#seen.forMs(name, this.#nowMs) < FORGOTTEN_AFTER_MS,
    );
    const digests = new Set([this.#digest, ...running.map(({ digest }) => digest)]);
    this.#standing = standingOf(look, this.#standing ?? CURRENT, digests.size > 1);
    onLook(this.#standing, digests.size);
  }

  /** Records that a look took or renewed the lease. `before`: the tenure when the look began. */
  #hold(before: Tenure, token: string, isDue: boolean): void {
    const tenure = this.#tenure;
    if (tenure !== before && tenure.kind !== 'held') {
      // This replica has withdrawn meanwhile, and may have missed events that others have received.
      this.#tenure = { ...tenure, former: token };
      return;
    }
    if (tenure.kind === 'idle' || (tenure.kind === 'held' && tenure.isDue === isDue)) return;
    const { sinceMs, hearsAll } = tenure;
    const hadGap = tenure.kind === 'held' && tenure.hadGap;
    this.#tenure = { kind: 'held', sinceMs, hearsAll, token, isDue, hadGap };
    this.#changed.notifyAll();
  }

  /** Releases the former token in Redis. Each look repeats this until Redis has answered. */
  async #release(): Promise<void> {
    const tenure = this.#tenure;
    if (tenure.kind === 'held' || tenure.former === null) return;
    const token = tenure.former;
    const { state } = this.#parts;
    const keys = [leaseKey(state.prefix), watchKey(state.prefix)];
    await state.run('watch', () => this.#scripts.leaseLetGo(keys, [token]));
    const now = this.#tenure;
    if (now.kind !== 'held' && now.former === token) this.#tenure = { ...now, former: null };
  }

  /** Records that this replica does not hold the lease. */
  #lose(): void {
    const tenure = this.#tenure;
    this.#parts.state.clearLeaseErrors();
    if (tenure.kind !== 'held') return;
    const { sinceMs, hearsAll } = tenure;
    this.#tenure = { kind: 'competing', sinceMs, hearsAll, former: null };
    this.#changed.notifyAll();
  }
}

function standingOf(
  { status, number, holderNumber }: Look,
  before: Standing,
  isShared: boolean,
): Standing {
  if (status === STATUSES.held || status === STATUSES.due) {
    return isShared ? { kind: 'leading' } : CURRENT;
  }
  // Nobody holds the lease: the standing is unchanged until somebody does.
  if (holderNumber === null) return isShared ? before : CURRENT;
  if (holderNumber === number) return CURRENT;
  return { kind: holderNumber > number ? 'superseded' : 'succeeding' };
}
