import { describe, expect, it } from 'vitest';
import type { Deadline, KeyInDatabase, KeyReading, Route } from '../../src/model/vocabulary.js';
import type { Command } from '../../src/redis/command.js';
import { compilePattern } from '../../src/routing/pattern.js';
import { Routing } from '../../src/routing/routes.js';
import { ValueKeeper } from '../../src/values/keeper.js';
import { MemoryValues } from '../../src/values/memory-values.js';
import { aCapturedExpiration, anExpiration, aRoute } from '../support/domain.js';
import { ManualClock } from '../support/manual-clock.js';
import { due, NOW_MS, texts, worth } from './values.contract.js';

const route = (name: string, match: string, given: Partial<Route> = {}) =>
  aRoute({ name, patterns: [compilePattern(match)], ...given });

const ROUTES = [
  route('value', 'order:*', { includesValue: true }),
  route('small', 'order:*', { includesValue: true, valueBytesMax: 3 }),
  route('look', 'timer:{id}', { lookup: 'data:{id}' }),
  route('plain', 'order:*'),
];

/** Strings as a Redis returns them, until it breaks. */
function someKeys(
  strings: Record<string, string | Error> = {},
  deadlines: Record<string, number> = {},
) {
  const asked: string[] = [];
  let isBroken = false;
  const ask = async (_: number, commands: readonly Command[]) => {
    if (isBroken) throw new Error('Connection is closed.');
    return commands.map(([name, ...words]) => {
      const key = words.find((word) => Buffer.isBuffer(word))?.toString() ?? '';
      asked.push(`${name} ${key}`);
      const text = strings[key];
      if (name === 'TYPE') return Buffer.from(text === undefined ? 'none' : 'string');
      if (name !== 'GETRANGE') return null;
      return text instanceof Error ? text : Buffer.from(text ?? '');
    });
  };
  const read = async (wanted: readonly (KeyInDatabase & Partial<Deadline>)[]) =>
    wanted.map(({ database, key, deadlineMs = 0 }): KeyReading => {
      const name = key.toString();
      if (strings[name] === undefined) {
        return { database, key, ttl: 'missing', deadlineMs: 0, readAtMs: NOW_MS };
      }
      const now = deadlines[name] ?? deadlineMs;
      return { database, key, ttl: 'volatile', deadlineMs: now, readAtMs: NOW_MS };
    });
  const keys = { runCommands: ask, read, nowMs: () => NOW_MS, deadlineSlackMs: 0 };
  return { keys, asked, break: () => (isBroken = true), repair: () => (isBroken = false) };
}

function aKeeper(routes: readonly Route[] = ROUTES) {
  const routing = { routes };
  const clock = new ManualClock();
  const values = new MemoryValues();
  const happened: string[] = [];
  const events = {
    unreadable: (refusal: string) => void happened.push(`unreadable ${refusal}`),
    stale: (error: string) => void happened.push(`stale ${error}`),
    omitted: (name: string, why: string) => void happened.push(`${name} ${why}`),
  };
  return {
    keeper: new ValueKeeper({ routing, values, events, clock }),
    values,
    clock,
    happened,
    reload: (others: readonly Route[]) => {
      routing.routes = others;
    },
  };
}

const read = (deadline: Deadline) => ({ ...deadline, ttl: 'volatile' as const, readAtMs: NOW_MS });
const expired = (key: string, expiredAtMs: number | null = NOW_MS + 5) => {
  const expiration = anExpiration({ key: Buffer.from(key), expiredAtMs });
  return { expiration, routes: new Routing(() => ROUTES, 'relay:').routesOf(expiration.key) };
};

describe('a keeper of values', () => {
  it('follows a reload, and deletes the values once no route asks for any', async () => {
    const { keeper, values, reload } = aKeeper([]);
    const { keys } = someKeys({ 'order:1': 'abc' });
    keeper.use(keys);
    const readings = [due('order:1', 5)].map(read);
    await keeper.onTracked(readings);
    await keeper.drained();
    expect(await values.read([due('order:1', 5)])).toEqual([null]);
    reload(ROUTES);
    await keeper.onTracked(readings);
    await keeper.drained();
    expect(await values.read([due('order:1', 5)])).not.toEqual([null]);
    reload([]);
    await keeper.prune(0, NOW_MS);
    expect(await values.read([due('order:1', 5)])).toEqual([null]);
  });

  it('reads the values of tracked keys that a route includes, and no value twice', async () => {
    const { keeper, values } = aKeeper();
    const { keys, asked } = someKeys({ 'order:1': 'abc', other: 'x' });
    const readings = [due('order:1', 5), due('other', 5), due('timer:1', 5)].map(read);
    keeper.use(keys);
    const track = async (...what: KeyReading[]) => {
      await keeper.onTracked(what);
      await keeper.drained();
    };
    await track(...readings);
    expect(asked).toEqual(['TYPE order:1', 'MEMORY order:1', 'GETRANGE order:1']);
    await track(...readings);
    expect(asked).toHaveLength(3);
    await track(read(due('order:1', 6)));
    expect(asked).toHaveLength(6);
    expect(await texts(values, due('order:1', 5))).toEqual(['abc']);
  });

  it('reads them again just before the deadline, and keeps the older one of a missing key', async () => {
    const { keeper, values } = aKeeper();
    await values.keep([worth('old', due('order:1', 5)), worth('old', due('order:2', 5))]);
    const { keys } = someKeys({ 'order:1': 'new' });
    keeper.use(keys);
    keeper.onDue([due('order:1', 5), due('order:2', 5)]);
    await keeper.drained();
    expect(await texts(values, due('order:1', 5), due('order:2', 5))).toEqual(['new', 'old']);
  });

  it('keeps its values when the connection breaks, and logs it', async () => {
    const { keeper, values, happened } = aKeeper();
    await values.keep([worth('old', due('order:1', 5))]);
    const broken = someKeys();
    broken.break();
    keeper.use(broken.keys);
    keeper.onDue([due('order:1', 5)]);
    await keeper.drained();
    expect(await texts(values, due('order:1', 5))).toEqual(['old']);
    expect(happened).toEqual(['stale Connection is closed.']);
  });

  it('keeps no value of a life that began during the read, or that is over', async () => {
    const { keeper, values } = aKeeper();
    await values.keep([worth('old', due('order:1', 5)), worth('old', due('order:2', -1))]);
    const strings = { 'order:1': 'next', 'order:2': 'next' };
    const { keys, asked } = someKeys(strings, { 'order:1': NOW_MS + 900 });
    keeper.use(keys);
    keeper.onDue([due('order:1', 5), due('order:2', -1)]);
    await keeper.drained();
    expect(await texts(values, due('order:1', 5), due('order:2', -1))).toEqual(['old', 'old']);
    expect(asked).not.toContain('TYPE order:2');
  });

  it('forgets the value of a key that has no deadline any more', async () => {
    const { keeper, values } = aKeeper();
    await values.keep([worth('x', due('order:1', 5)), worth('x', due('order:2', 5))]);
    await keeper.onPersistent([
      { ...read(due('order:1', 0)), ttl: 'persistent' },
      read(due('order:2', 5)),
    ]);
    expect(await texts(values, due('order:1', 5), due('order:2', 5))).toEqual([null, 'x']);
  });

  it('gives each route the value that it includes, within its limits', async () => {
    const { keeper, values, happened } = aKeeper();
    await values.keep([worth('four', due('order:1', 5))]);
    const [byRoute] = await keeper.valuesFor([expired('order:1')]);
    expect(byRoute?.get('value')?.value?.value).toBe('four');
    expect(byRoute?.get('small')?.value).toMatchObject({ value: null, omitted: 'too_large' });
    expect(byRoute?.has('plain')).toBe(false);
    expect(happened).toEqual(['small too_large']);
  });

  it.each([
    ['another deadline', NOW_MS + 6],
    ['no known deadline', null],
  ])('gives no value of another life: %s', async (_, expiredAtMs) => {
    const { keeper, values } = aKeeper();
    await values.keep([worth('four', due('order:1', 5))]);
    const [byRoute] = await keeper.valuesFor([expired('order:1', expiredAtMs)]);
    expect(byRoute?.get('value')?.value).toMatchObject({ value: null, omitted: 'gone' });
  });

  it('forgets the values of claimed keys, for that life only, and of removed keys', async () => {
    const { keeper, values } = aKeeper();
    const keys = ['order:1', 'order:2', 'order:3'].map((key) => due(key, 5));
    await values.keep(keys.map((key) => worth('x', key)));
    const claims = [due('order:1', 5), due('order:2', 4)];
    await keeper.onCaptured(
      claims.map((claim) => aCapturedExpiration({ ...claim, detectedAtMs: NOW_MS })),
    );
    await keeper.onRemoved([due('order:3', 0)]);
    expect(await texts(values, ...keys)).toEqual([null, 'x', null]);
  });

  it('reads a lookup once, on demand, and waits for a lost connection', async () => {
    const { keeper, clock, happened } = aKeeper();
    const server = someKeys({ 'data:1': 'total' });
    keeper.use(server.keys);
    const lookup = async (key = 'timer:1') =>
      (await keeper.valuesFor([expired(key)]))[0]?.get('look')?.lookup;
    expect(await lookup()).toMatchObject({ key: Buffer.from('data:1'), value: 'total' });
    keeper.use(null);
    const waiting = lookup();
    await clock.advance(1_000);
    keeper.use(server.keys);
    await clock.advance(100);
    expect(await waiting).toMatchObject({ value: 'total' });
    server.break();
    const inVain = lookup();
    await clock.advance(4_000);
    expect(await inVain).toMatchObject({ value: null, omitted: 'unavailable' });
    expect(await lookup()).toMatchObject({ omitted: 'unavailable' });
    expect(happened.filter((what) => what === 'look unavailable')).toHaveLength(2);
    server.repair();
    expect(await lookup()).toMatchObject({ value: 'total' });
  });

  it('reports values that Redis refuses to return', async () => {
    const { keeper, happened } = aKeeper();
    const { keys } = someKeys({ 'order:1': new Error('NOPERM getrange') });
    keeper.use(keys);
    keeper.onDue([due('order:1', 5)]);
    await keeper.drained();
    expect(happened).toEqual(['unreadable NOPERM getrange']);
    const [byRoute] = await keeper.valuesFor([expired('order:1')]);
    expect(byRoute?.get('value')?.value?.omitted).toBe('forbidden');
  });
});
