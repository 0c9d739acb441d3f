/**
 * Reloads the configuration: when asked to, and when the file or a file that it names has changed. Everything that can
 * fail happens before anything changes: a reload applies the whole configuration, or nothing.
 *
 * The versions of the files are compared every two seconds. Notifications of the system (inotify) would not show changes
 * by other machines on a shared volume, need a watch on each folder of each link in a path, and are lost on overflow.
 */

import { haveOtherCredentials } from '../delivery/endpoint-changes.js';
import type { Clock } from '../lib/clock.js';
import { PeriodicLoop } from '../lib/periodic-loop.js';
import type { Endpoint } from '../model/endpoint.js';
import type { ReloadResult, ReloadTrigger } from '../model/reload.js';
import type { ReloadEvents } from '../telemetry/reload-events.js';
import { areSame, type FileVersions, NO_REGULAR_FILE, versionsOf } from './file-versions.js';
import type { LiveSettings } from './live-settings.js';
import type { Loaded } from './load.js';
import { type Changes, decideReload } from './reload-decision.js';
import type { Reading } from './settings-source.js';

/**
 * How often the files are compared. A file that has changed is read when it has not changed since the comparison before:
 * a program may be writing it. Kubernetes takes up to a minute to update a mounted volume.
 */
export const COMPARE_EVERY_MS = 2_000;

/** With more than 400 files, comparisons are less frequent: each file takes 0.1 ms of processor time, 2 % of this. */
const COMPARE_MS_PER_FILE = 5;

export interface ReloaderParts {
  readonly settings: LiveSettings;
  /** The version in `settings`. */
  readonly first: Loaded;
  /** Loads the configuration again. */
  readonly read: () => Promise<Reading>;
  /** Makes the relay follow `settings`, which have changed. `isAsked`: somebody asked for the reload. Must not fail. */
  readonly apply: (changes: Changes, isAsked: boolean) => void;
  readonly events: ReloadEvents;
  /** Called with an unexpected error. */
  readonly onInternalError: (error: unknown) => void;
  readonly clock: Clock;
  /** Aborts when nothing may change any more. */
  readonly stop: AbortSignal;
}

export class Reloader {
  readonly #parts: ReloaderParts;
  readonly #loop: PeriodicLoop;
  /** The files that were pipes at the start, and do not change. */
  readonly #pipes: ReadonlySet<string>;
  /** The last version that was applied. */
  #applied: Loaded;
  /** The files of the last reading, and of the version that was applied. */
  #read: FileVersions;
  /** What a comparison found that differs from `#read`; null: nothing did. */
  #changing: FileVersions | null = null;
  /** The endpoints whose files could not be used in the last reading. */
  #stale: ReadonlySet<string> = new Set();
  #reloading: Promise<unknown> = Promise.resolve();

  constructor(parts: ReloaderParts) {
    const { first, clock } = parts;
    this.#parts = parts;
    this.#applied = first;
    this.#pipes = new Set(
      Array.from(first.versions).flatMap(([file, version]) =>
        version === NO_REGULAR_FILE ? [file] : [],
      ),
    );
    this.#read = this.#withoutPipes(first.versions);
    this.#loop = new PeriodicLoop(clock, async () => {
      await this.#compare();
      return Math.max(COMPARE_EVERY_MS, this.#read.size * COMPARE_MS_PER_FILE);
    });
  }

  /** Follows the files. */
  start(): void {
    this.#loop.start(COMPARE_EVERY_MS);
  }

  /** Resolves when no reload is in progress; there is none afterwards. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    await this.#reloading;
  }

  /** Reloads once; never rejects. Reloads follow one another. */
  reload(trigger: ReloadTrigger): Promise<ReloadResult> {
    const reloading = this.#reloading.then(() => this.#reload(trigger));
    this.#reloading = reloading;
    return reloading;
  }

  /** Reloads if files have changed, and no longer change. */
  async #compare(): Promise<void> {
    const now = await versionsOf(this.#read.keys());
    if (areSame(now, this.#read)) {
      this.#changing = null;
      return;
    }
    const isQuiet = this.#changing !== null && areSame(now, this.#changing);
    this.#changing = now;
    if (isQuiet) await this.reload('file');
  }

  async #reload(trigger: ReloadTrigger): Promise<ReloadResult> {
    const { read, events, onInternalError } = this.#parts;
    if (this.#parts.stop.aborted) {
      return { kind: 'invalid', mistakes: ['the relay is stopping'] };
    }
    try {
      const reading = await read();
      const { versions } = reading.kind === 'valid' ? reading.loaded : reading;
      this.#read = this.#withoutPipes(new Map([...this.#applied.versions, ...versions]));
      this.#changing = null;
      if (reading.kind === 'valid') return this.#decide(reading.loaded, trigger);
      const { mistakes, endpointProblems } = reading;
      this.#reportStale(endpointProblems);
      events.failed(trigger, mistakes);
      return { kind: 'invalid', mistakes };
    } catch (error) {
      onInternalError(error);
      const mistakes = ['an unexpected error: see internal_error in the log'];
      events.failed(trigger, mistakes);
      return { kind: 'invalid', mistakes };
    }
  }

  #decide(loaded: Loaded, trigger: ReloadTrigger): ReloadResult {
    const { settings, apply, events } = this.#parts;
    const decision = decideReload(this.#applied, loaded);
    if (decision.kind === 'restart_required') {
      events.restartRequired(trigger, decision.keys);
      return decision;
    }
    const { changes } = decision;
    const before = settings.current;
    this.#applied = { ...loaded, settings: decision.settings };
    this.#read = this.#withoutPipes(loaded.versions);
    settings.replace(decision.settings);
    apply(changes, trigger !== 'file');
    this.#reportCredentials(before.endpoints, changes);
    events.applied(trigger, changes.keys);
    return { kind: 'applied', keys: changes.keys };
  }

  /** Reports the endpoints whose files have become unusable. */
  #reportStale(problems: ReadonlyMap<string, string>): void {
    const { settings, events } = this.#parts;
    const stale = [...problems].filter(([name]) => settings.current.endpoints.has(name));
    for (const [name, problem] of stale) {
      if (!this.#stale.has(name)) events.credentialsUnusable(name, problem);
    }
    this.#stale = new Set([...this.#stale, ...stale.map(([name]) => name)]);
  }

  /** Reports the endpoints whose credentials have changed, or are usable again. */
  #reportCredentials(before: ReadonlyMap<string, Endpoint>, { changed }: Changes): void {
    const { settings, events } = this.#parts;
    const stale = this.#stale;
    this.#stale = new Set();
    for (const [name, endpoint] of settings.current.endpoints) {
      const former = before.get(name);
      if (former === undefined) continue;
      const isChanged = changed.includes(name) && haveOtherCredentials(former, endpoint);
      if (isChanged || stale.has(name)) events.credentialsReloaded(endpoint);
    }
  }

  #withoutPipes(versions: FileVersions): FileVersions {
    return new Map(Array.from(versions).filter(([file]) => !this.#pipes.has(file)));
  }
}
