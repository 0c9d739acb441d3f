/**
 * Reads every Lua script and follows each key that it touches to where it comes from: a script may run
 * on a Redis Cluster only if its caller has declared them all. That the declared ones lie in one slot
 * is shown by the suites that run on a node of a cluster (vitest.config.ts).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Redis } from 'ioredis';
import { describe, expect, it } from 'vitest';
import { RedisDeadlines } from '../../src/deadlines/redis-deadlines.js';
import { defineOutboxScripts } from '../../src/outbox/scripts/scripts.js';
import { ALWAYS_HELD } from '../../src/state/lease.js';
import { Quarantine } from '../../src/state/quarantine.js';
import { RedisLease, type RedisLeaseParts } from '../../src/state/redis-lease.js';
import type { RedisState } from '../../src/state/redis-state.js';
import { RedisValues } from '../../src/values/redis-values.js';
import { WatchedServer, type WatchedServerParts } from '../../src/watch/watched-server.js';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

/** Where scripts are defined; each is collected below. */
const DEFINING = [
  'deadlines/redis-deadlines.ts',
  'outbox/scripts/scripts.ts',
  'state/quarantine.ts',
  'state/redis-lease.ts',
  'values/redis-values.ts',
  'watch/watched-server.ts',
];

function collect(): [string, string][] {
  const scripts: [string, string][] = [];
  const redis = {
    defineCommand: (name: string, { lua }: { lua: string }) => scripts.push([name, lua]),
  } as unknown as Redis;
  const state = { redis } as RedisState;
  defineOutboxScripts(redis);
  new RedisLease({ state } as RedisLeaseParts);
  new WatchedServer({ state } as WatchedServerParts);
  new RedisDeadlines(state, ALWAYS_HELD, [0], () => undefined);
  new Quarantine(redis, 'expiry-relay');
  new RedisValues(state, ALWAYS_HELD);
  return scripts;
}

/** A function of a script, or, without a name, what is outside of them. */
interface Part {
  readonly name: string | null;
  readonly params: readonly string[];
  readonly body: string;
}

const FUNCTION = /^local function (\w+)\(([^)]*)\)\n([\s\S]*?)^end\n/gm;

function partsOf(lua: string): Part[] {
  const functions = [...lua.matchAll(FUNCTION)].map(([, name = '', params = '', body = '']) => ({
    name,
    params: params.split(',').map((param) => param.trim()),
    body,
  }));
  return [...functions, { name: null, params: [], body: lua.replaceAll(FUNCTION, '') }];
}

/** What stands between commas that are in no brackets and no quotes, up to the end or a bracket. */
function listAt(text: string, from: number): string[] {
  const items: string[] = [''];
  let depth = 0;
  let isQuoted = false;
  for (let at = from; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === "'") isQuoted = !isQuoted;
    if (!isQuoted && /[([{]/.test(char)) depth += 1;
    if (!isQuoted && /[)\]}]/.test(char)) depth -= 1;
    if (depth < 0) break;
    if (char === ',' && depth === 0 && !isQuoted) items.push('');
    else items.push(`${items.pop() ?? ''}${char}`);
  }
  return items.map((item) => item.trim());
}

/** The arguments of each call of this function. */
const callsIn = (body: string, name: string): string[][] =>
  [...body.matchAll(new RegExp(`(?<![\\w.])${name.replace('.', '\\.')}\\(`, 'g'))].map(
    ({ 0: found, index }) => listAt(body, index + found.length),
  );

/** The keys among the words of a command. */
function keysOf([command = '', ...words]: readonly string[]): readonly string[] {
  switch (command) {
    case "'TIME'":
      return [];
    case "'DEL'":
    case "'UNLINK'":
      return words;
    case "'XGROUP'":
    case "'XINFO'":
      return words.slice(1, 2);
    case "'XREADGROUP'":
      return words.slice(words.indexOf("'STREAMS'") + 1, -1);
    default:
      return words.slice(0, 1);
  }
}

/** Whether this expression can only be one of KEYS. */
function isDeclared(expression: string, part: Part, parts: readonly Part[]): boolean {
  if (/^KEYS\[[^\]]+\]$/.test(expression)) return true;
  if (!/^\w+$/.test(expression)) return false;
  const assigned = [...part.body.matchAll(/\blocal ([\w, ]+) = (.*)$/gm)].flatMap(
    ([, names = '', values = '']) => {
      const at = names.split(',').findIndex((name) => name.trim() === expression);
      return at < 0 ? [] : [listAt(values, 0)[at] ?? ''];
    },
  );
  const at = part.params.indexOf(expression);
  const given =
    at < 0
      ? []
      : parts.flatMap((caller) =>
          callsIn(caller.body, part.name ?? '').map((args) =>
            isDeclared(args[at] ?? '', caller, parts),
          ),
        );
  const origins = [...assigned.map((value) => isDeclared(value, part, parts)), ...given];
  // A function that this script does not call touches nothing.
  const isKnown = at >= 0 || assigned.length > 0;
  return isKnown && origins.every(Boolean);
}

/** Each key that a script touches and that may be another than its caller has declared. */
function undeclaredIn(lua: string): string[] {
  const parts = partsOf(lua);
  return parts.flatMap((part) =>
    ['redis.call', 'redis.pcall']
      .flatMap((name) => callsIn(part.body, name))
      .flatMap((words) =>
        keysOf(words)
          .filter((key) => !isDeclared(key, part, parts))
          .map((key) => `${words[0]} ${key}`),
      ),
  );
}

describe('a script', () => {
  const scripts = collect();

  it.each(scripts)('%s touches no key but those that are declared', (_, lua) => {
    expect(lua).toMatch(/redis\.p?call\(/);
    expect(undeclaredIn(lua)).toEqual([]);
  });

  it.each([
    ["redis.call('GET', 'a')", "'GET' 'a'"],
    ["redis.call('GET', KEYS[1] .. ':b')", "'GET' KEYS[1] .. ':b'"],
    ["redis.call('DEL', KEYS[1], ARGV[1])", "'DEL' ARGV[1]"],
    ["local a, b = KEYS[1], ARGV[1]\nredis.pcall('GET', b)", "'GET' b"],
    ["local function f(x, y)\nredis.call('GET', y)\nend\nf(KEYS[1], ARGV[2])", "'GET' y"],
    [
      "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', ARGV[1], '>')",
      "'XREADGROUP' ARGV[1]",
    ],
  ])('would be found out: %s', (lua, found) => {
    expect(undeclaredIn(lua)).toEqual([found]);
  });

  it('is defined in one of the places that are read here', () => {
    const defining = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(
      (path) =>
        path.endsWith('.ts') &&
        /(?<!function )\bdefineScripts\(/.test(readFileSync(join(SRC, path), 'utf8')),
    );
    expect(defining.sort()).toEqual(DEFINING);
    expect(new Set(scripts.map(([name]) => name)).size).toBe(scripts.length);
  });

  it('that Redis is given in another way touches no key at all', () => {
    const touching = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => ({ path, text: readFileSync(join(SRC, path), 'utf8') }))
      .filter(
        ({ text }) => /\.eval(sha)?\(/.test(text) && /`[^`]*redis\.p?call\([^`]*`/.test(text),
      );
    expect(touching.map(({ path }) => path)).toEqual([]);
  });
});
