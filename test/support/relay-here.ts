/** A relay in this process, which can have a wrong clock. */
import { Writable } from 'node:stream';
import { request } from 'undici';
import { stringify } from 'yaml';
import { runRelay } from '../../src/app.js';
import { SettingsSource } from '../../src/config/settings-source.js';
import { type Clock, systemChance, systemClock } from '../../src/lib/clock.js';
import { BufferedOutput } from '../../src/telemetry/buffered-output.js';
import { ProcessReports } from '../../src/telemetry/process-reports.js';
import { tempFolder } from './cli.js';
import { eventually } from './eventually.js';
import { ObservedRelay } from './relay-metrics.js';
import type { LogLine, RelayFile } from './relay-process.js';

/** The machine's clock, with an adjustable offset. */
export interface WrongClock extends Clock {
  /** The offset of the wall clock. */
  aheadMs: number;
}

export function wrongClock(aheadMs: number): WrongClock {
  const clock: WrongClock = {
    ...systemClock,
    aheadMs,
    nowMs: () => systemClock.nowMs() + clock.aheadMs,
  };
  return clock;
}

export class RelayHere extends ObservedRelay implements AsyncDisposable {
  readonly #lines: LogLine[] = [];
  readonly #stop = new AbortController();
  #over: Promise<unknown> = Promise.resolve();

  /** Starts it and waits until it is ready and watches. */
  static async start(file: RelayFile, clock: Clock): Promise<RelayHere> {
    const relay = new RelayHere();
    await relay.#start(file, clock);
    await eventually('ready', async () => (await relay.get('/readyz')).status === 200);
    await eventually('watching', () => relay.watches);
    return relay;
  }

  async #start(file: RelayFile, clock: Clock): Promise<void> {
    const yaml = stringify({ admin: { listen: '127.0.0.1:0' }, ...file });
    const folder = await tempFolder({ 'relay.yaml': yaml });
    const options = { file: undefined, env: {}, cwd: folder.path };
    const source = new SettingsSource(options, (settings) => settings);
    const loaded = await source.load();
    const stdout = new Writable({
      decodeStrings: false,
      write: (text: string, _, done) => {
        const lines = text.split('\n').filter((line) => line !== '');
        this.#lines.push(...lines.map((line) => JSON.parse(line) as LogLine));
        done();
      },
    });
    const output = new BufferedOutput(stdout);
    const reports = new ProcessReports();
    const parts = {
      loaded,
      read: () => source.read(),
      hangups: { listen: () => undefined },
      output,
      reports,
      clock,
      chance: systemChance,
    };
    this.#over = runRelay(parts, this.#stop.signal).finally(() => folder[Symbol.asyncDispose]());
  }

  override logs(event?: string): LogLine[] {
    return event === undefined ? this.#lines : this.#lines.filter((line) => line.event === event);
  }

  override async get(path: string): Promise<{ status: number; text: string }> {
    const started = await eventually('starting', () => this.logs('starting')[0]);
    const { statusCode, body } = await request(`http://${started.admin}${path}`);
    return { status: statusCode, text: await body.text() };
  }

  async stop(): Promise<void> {
    this.#stop.abort('SIGTERM');
    await this.#over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
