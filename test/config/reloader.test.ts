import fs, { rm, symlink, writeFile } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { stringify } from 'yaml';
import { LiveSettings } from '../../src/config/live-settings.js';
import { COMPARE_EVERY_MS, Reloader } from '../../src/config/reloader.js';
import { SettingsSource } from '../../src/config/settings-source.js';
import { systemClock } from '../../src/lib/clock.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { ReloadEvents } from '../../src/telemetry/reload-events.js';
import { tempFolder } from '../support/cli.js';
import { TEST_SECRET } from '../support/domain.js';
import { eventually } from '../support/eventually.js';
import { ManualClock } from '../support/manual-clock.js';

const OTHER_SECRET = `whsec_${Buffer.alloc(24, 'new').toString('base64')}`;

interface LogLine {
  readonly event: string;
  readonly [field: string]: unknown;
}

const textOf = (given: object = {}) =>
  stringify({
    endpoints: { shop: { url: 'https://shop/', secrets: [{ file: 'key' }] } },
    routes: [{ name: 'cancel', match: 'order:*', to: 'shop' }],
    ...given,
  });

/** A reloader of real files, with a clock that the test moves. */
async function aReloader() {
  const folder = await tempFolder({ 'relay.yaml': textOf(), key: TEST_SECRET });
  onTestFinished(() => folder[Symbol.asyncDispose]());
  const options = { file: undefined, env: {}, cwd: folder.path };
  const source = new SettingsSource(options, (settings) => settings);
  const first = await source.load();
  const clock = new ManualClock();
  const lines: LogLine[] = [];
  const log = pino({ level: 'trace' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const metrics = new Metrics(first.settings);
  const settings = new LiveSettings(first.settings);
  const stop = new AbortController();
  const applied: boolean[] = [];
  let reads = 0;
  const reloader = new Reloader({
    settings,
    first,
    read: () => {
      reads += 1;
      return source.read();
    },
    apply: (_, isAsked) => applied.push(isAsked),
    events: new ReloadEvents(log, metrics, clock),
    onInternalError: (error) => {
      throw error;
    },
    clock,
    stop: stop.signal,
  });
  reloader.start();
  onTestFinished(() => reloader.stop());
  let compared = 0;
  return {
    reloader,
    settings,
    stop,
    applied,
    lines,
    reads: () => reads,
    at: (name: string) => `${folder.path}/${name}`,
    write: (name: string, text: string) => writeFile(`${folder.path}/${name}`, text),
    events: () => lines.map(({ event }) => event),
    level: () => settings.current.log.level,
    /** Lets this many comparisons happen. */
    compare: async (times = 1) => {
      for (let n = 0; n < times; n += 1) {
        compared += 1;
        await eventually('the comparison is over', () => clock.timers === 1);
        await clock.advance(COMPARE_EVERY_MS);
      }
      await eventually('the comparison is over', () => clock.timers === 1);
      return compared;
    },
    metric: async (name: string) => {
      const text = await metrics.text(systemClock.turn);
      return Number(new RegExp(`^expiry_relay_${name} (.*)$`, 'm').exec(text)?.[1]);
    },
  };
}

const LEVEL = { log: { level: 'debug' } };

describe('a file that has changed', () => {
  it('is read when it has not changed any more since the comparison before', async () => {
    const { write, compare, reads, level, events } = await aReloader();
    await compare(3);
    await write('relay.yaml', 'half-');
    await compare();
    await write('relay.yaml', textOf().slice(0, 50));
    await compare();
    expect(reads()).toBe(0);
    await write('relay.yaml', textOf(LEVEL));
    await compare();
    expect(reads()).toBe(0);
    await compare();
    expect(level()).toBe('debug');
    await compare(3);
    expect(reads()).toBe(1);
    expect(events()).toEqual(['config_reloaded']);
  });

  it('counts as changed if a file that it names has, or a link on the way to it', async () => {
    const { write, compare, at, settings, events, lines } = await aReloader();
    const secret = () => settings.current.endpoints.get('shop')?.secrets[0]?.reveal();
    await write('key', OTHER_SECRET);
    await compare(2);
    expect(secret()).toBe(OTHER_SECRET);
    expect(events()).toEqual(['credentials_reloaded', 'config_reloaded']);
    expect(lines.at(-1)).toMatchObject({ trigger: 'file', changed: ['endpoints.shop'] });
    await write('other-key', TEST_SECRET);
    await rm(at('key'));
    await symlink('other-key', at('key'));
    await compare(2);
    expect(secret()).toBe(TEST_SECRET);
  });

  it('is not applied while it is invalid; all mistakes are logged once, and the next valid version is', async () => {
    const { write, compare, level, lines, metric, settings } = await aReloader();
    const before = settings.current;
    await write('relay.yaml', `${textOf(LEVEL)}shutdown: {grace: soon}\nstate: {prefix: " "}\n`);
    await compare(6);
    expect(settings.current).toBe(before);
    expect(lines).toMatchObject([
      {
        event: 'config_reload_failed',
        trigger: 'file',
        mistakes: [
          expect.stringMatching(/^relay\.yaml:12:\d+: shutdown\.grace: /),
          expect.stringMatching(/^relay\.yaml:13:\d+: state\.prefix: /),
        ],
      },
    ]);
    expect(await metric('config_last_reload_successful')).toBe(0);
    await write('relay.yaml', textOf(LEVEL));
    await compare(2);
    expect(level()).toBe('debug');
    expect(await metric('config_last_reload_successful')).toBe(1);
  });

  it('is waited for while it is missing, also one that only the rejected version names', async () => {
    const { write, compare, at, level, events } = await aReloader();
    const endpoints = { shop: { url: 'https://shop/', secrets: [{ file: 'later' }] } };
    await write('relay.yaml', textOf({ endpoints, ...LEVEL }));
    await compare(6);
    expect(events()).toEqual(['credentials_unusable', 'config_reload_failed']);
    await write('later', OTHER_SECRET);
    await compare(2);
    expect(level()).toBe('debug');
    await rm(at('relay.yaml'));
    await compare(6);
    expect(events().slice(2)).toEqual([
      'credentials_reloaded',
      'config_reloaded',
      'config_reload_failed',
    ]);
    await write('relay.yaml', textOf());
    await compare(2);
    expect(level()).toBe('info');
  });

  it('is read again until that succeeds if it could not be read, and this is logged once', async () => {
    const { write, compare, level, events } = await aReloader();
    await write('relay.yaml', textOf(LEVEL));
    const opened = vi.spyOn(fs, 'open');
    syncBuiltinESMExports();
    onTestFinished(() => {
      opened.mockRestore();
      syncBuiltinESMExports();
    });
    opened.mockRejectedValue(Object.assign(new Error(), { code: 'EMFILE' }));
    await compare(8);
    expect(events()).toEqual(['config_reload_failed']);
    opened.mockRestore();
    syncBuiltinESMExports();
    await compare(2);
    expect(level()).toBe('debug');
  });

  it('needs a restart as a whole if one of its changes does, and is not read again until it changes', async () => {
    const { write, compare, level, lines, metric, reads } = await aReloader();
    await write('relay.yaml', textOf({ ...LEVEL, state: { prefix: 'other' } }));
    await compare(6);
    expect(level()).toBe('info');
    expect(lines).toMatchObject([{ event: 'config_restart_required', changed: ['state.prefix'] }]);
    expect(reads()).toBe(1);
    expect(await metric('config_last_reload_successful')).toBe(0);
  });
});

describe('a reload that somebody asks for', () => {
  it('is made at once, and says so', async () => {
    const { reloader, write, level, applied, metric, lines } = await aReloader();
    await write('relay.yaml', textOf(LEVEL));
    expect(await reloader.reload('signal')).toEqual({ kind: 'applied', keys: ['log.level'] });
    expect(level()).toBe('debug');
    expect(await reloader.reload('api')).toEqual({ kind: 'applied', keys: [] });
    expect(applied).toEqual([true, true]);
    expect(lines).toMatchObject([
      { event: 'config_reloaded', trigger: 'signal', changed: ['log.level'] },
      { event: 'config_reloaded', trigger: 'api', changed: [] },
    ]);
    expect(await metric('config_last_reload_success_timestamp_seconds')).toBeGreaterThan(0);
  });

  it('is rejected once the relay is stopping', async () => {
    const { reloader, write, stop, level } = await aReloader();
    await write('relay.yaml', textOf(LEVEL));
    stop.abort();
    expect(await reloader.reload('api')).toEqual({
      kind: 'invalid',
      mistakes: ['the relay is stopping'],
    });
    expect(level()).toBe('info');
  });
});
