// cspell:ignore aaabbbc aaabbbcc aabbc
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import type { Pattern } from '../../src/model/pattern.js';
import { compilePattern, PatternError } from '../../src/routing/pattern.js';

/** Few enough bytes that random patterns match random keys. */
const keyBytes = fc.constantFrom(
  ...Buffer.from('aaabbbcc:::-][^\\*?{}'),
  ...Buffer.from('éü'),
  ...[0x00, 0x7f, 0x80, 0xff],
);

function keys(maxLength: number): fc.Arbitrary<Buffer> {
  return fc
    .array(keyBytes, { minLength: 1, maxLength, size: 'max' })
    .map((bytes) => Buffer.from(bytes));
}

/** Null for refused patterns, and for captures, which Redis does not have. */
function compileGlob(source: string): Pattern | null {
  try {
    const pattern = compilePattern(source);
    return pattern.names.length === 0 ? pattern : null;
  } catch (error) {
    if (error instanceof PatternError) return null;
    throw error;
  }
}

describe('a pattern without captures matches the same keys as in Redis', () => {
  const literals = fc.constantFrom('a', 'b', 'c', ':', '-', ']', '^', '}', 'é', 'ü', '\0');
  const inClass = fc.constantFrom(
    ...['a', 'b', 'c', ':', '-', '^', '[', '{', '}', '*', '?', 'é', 'à', '\\]', '\\\\', '\\-'],
    ...['a-c', 'c-a', 'b-b', ':-c', '*-?', 'é-ü', 'a-]', '--:', '^-a', '\\a-c', 'a-\\'],
  );
  const classes = fc
    .tuple(fc.constantFrom('', '', '^'), fc.array(inClass, { maxLength: 3 }))
    .map(([not, members]) => `[${not}${members.join('')}]`);
  const escapes = literals.map((char) => `\\${char}`);
  const specials = fc.constantFrom('\\*', '\\?', '\\[', '\\\\', '\\{');
  const elements = fc.oneof(
    { weight: 4, arbitrary: literals },
    { weight: 4, arbitrary: fc.constantFrom('*', '*', '?', '**') },
    { weight: 3, arbitrary: classes },
    { weight: 1, arbitrary: escapes },
    { weight: 1, arbitrary: specials },
  );
  const wellFormed = fc.array(elements, { minLength: 1, maxLength: 7 }).map((all) => all.join(''));
  const anyhow = fc
    .array(fc.constantFrom(...'aabbc-][^\\*?:}é', '\\{'), { minLength: 1, maxLength: 8 })
    .map((all) => all.join(''));
  const patterns = fc
    .oneof({ weight: 2, arbitrary: wellFormed }, { weight: 1, arbitrary: anyhow })
    .map(compileGlob)
    .filter((pattern) => pattern !== null);

  const KEYS = 1_500;
  let server: RunningRedis;
  let redis: Redis;
  let allKeys: readonly Buffer[];

  beforeAll(async () => {
    server = await startRedis();
    redis = new Redis(server.url);
    const sample = [...fc.sample(keys(3), KEYS / 2), ...fc.sample(keys(12), KEYS / 2)];
    const loaded = [Buffer.alloc(0), ...sample];
    await redis.mset(...loaded.flatMap((key) => [key, '']));
    allKeys = [...new Set(loaded.map((key) => key.toString('hex')))].map((key) =>
      Buffer.from(key, 'hex'),
    );
    expect(await redis.dbsize()).toBe(allKeys.length);
  });

  afterAll(async () => {
    redis?.disconnect();
    await server?.stop();
  });

  async function scan(pattern: string): Promise<Buffer[]> {
    const found: Buffer[] = [];
    let cursor = '0';
    do {
      const [next, page] = await redis.scanBuffer(cursor, 'MATCH', pattern, 'COUNT', 10_000);
      cursor = next.toString();
      found.push(...page);
    } while (cursor !== '0');
    return found;
  }

  /** Sorted and without repetitions, so that a difference can be read. */
  function listOf(found: readonly Buffer[]): string[] {
    return [...new Set(found.map((key) => JSON.stringify(key.toString('latin1'))))].sort();
  }

  async function expectSame(pattern: Pattern): Promise<number> {
    const ours = listOf(allKeys.filter((key) => pattern.match(key) !== null));
    const [byKeys, byScan] = await Promise.all([
      redis.keysBuffer(pattern.source),
      scan(pattern.source),
    ]);
    expect(ours, `KEYS ${pattern.source}`).toEqual(listOf(byKeys));
    expect(ours, `SCAN MATCH ${pattern.source}`).toEqual(listOf(byScan));
    return ours.length;
  }

  it('for random patterns', async () => {
    let runs = 0;
    let runsWithAMatch = 0;
    await fc.assert(
      fc.asyncProperty(patterns, async (pattern) => {
        runs += 1;
        if ((await expectSame(pattern)) > 0) runsWithAMatch += 1;
      }),
      { numRuns: 500 },
    );
    expect(runsWithAMatch / runs).toBeGreaterThan(0.25);
  });

  it('for patterns derived from an existing key', async () => {
    const fromKeys = fc.nat({ max: KEYS }).chain((index) => {
      const key = allKeys[index % allKeys.length] as Buffer;
      const parts = [...key].map((byte) => {
        const char = String.fromCharCode(byte);
        const exact = byte < 0x80 ? [`\\${char}`, `[\\${char}a]`] : [];
        return fc.constantFrom('?', '*', '[^]', '[^x]', ...exact, ...exact);
      });
      return fc.tuple(...parts).map((all) => compileGlob(all.join('') || '*'));
    });
    await fc.assert(
      fc.asyncProperty(fromKeys, async (pattern) => {
        expect(pattern).not.toBeNull();
        if (pattern !== null) expect(await expectSame(pattern)).toBeGreaterThan(0);
      }),
      { numRuns: 200 },
    );
  });
});

describe('a pattern with captures', () => {
  type Part =
    | { readonly kind: 'byte'; readonly text: string; readonly allows: (byte: number) => boolean }
    | { readonly kind: 'star' }
    | { readonly kind: 'capture' };

  function one(text: string, allows: (char: string) => boolean): Part {
    return { kind: 'byte', text, allows: (byte) => allows(String.fromCharCode(byte)) };
  }

  const parts: fc.Arbitrary<Part> = fc.oneof(
    { weight: 4, arbitrary: fc.constant<Part>({ kind: 'capture' }) },
    { weight: 2, arbitrary: fc.constant<Part>({ kind: 'star' }) },
    {
      weight: 4,
      arbitrary: fc.constantFrom(
        one('a', (char) => char === 'a'),
        one('b', (char) => char === 'b'),
        one(':', (char) => char === ':'),
        one('[:]', (char) => char === ':'),
        one('[a:]', (char) => char === 'a' || char === ':'),
        one('[^a]', (char) => char !== 'a'),
        one('[c-a]', (char) => char >= 'a' && char <= 'c'),
        one('?', () => true),
      ),
    },
  );

  function sourceOf(all: readonly Part[]): string {
    let captures = 0;
    const texts = all.map((part) => {
      if (part.kind === 'star') return '*';
      if (part.kind === 'byte') return part.text;
      captures += 1;
      return `{p${captures}}`;
    });
    return texts.join('');
  }

  /**
   * Tries each length from the longest down, and goes back: the definition, spelled out.
   * Returns what each capture took, in order.
   */
  function reference(all: readonly Part[], key: string): string[] | null {
    const [part, ...rest] = all;
    if (part === undefined) return key === '' ? [] : null;
    const least = part.kind === 'star' ? 0 : 1;
    const most = part.kind === 'byte' ? 1 : key.length;
    for (let length = most; length >= least; length -= 1) {
      const taken = key.slice(0, length);
      if (taken.length < length) continue;
      if (part.kind === 'byte' && !part.allows(taken.charCodeAt(0))) continue;
      if (part.kind === 'capture' && taken.includes(':')) continue;
      const others = reference(rest, key.slice(length));
      if (others !== null) return part.kind === 'capture' ? [taken, ...others] : others;
    }
    return null;
  }

  it('divides a key as the slow reference does', () => {
    let matched = 0;
    let runs = 0;
    fc.assert(
      fc.property(
        fc.array(parts, { minLength: 1, maxLength: 8, size: 'max' }),
        fc.array(
          fc.array(fc.constantFrom(...'aaabbbc::'), { minLength: 1, maxLength: 11, size: 'max' }),
          { minLength: 8, maxLength: 8 },
        ),
        (all, keyChars) => {
          const pattern = compilePattern(sourceOf(all));
          for (const chars of keyChars) {
            const key = chars.join('');
            const params = pattern.match(Buffer.from(key));
            const ours = params === null ? null : pattern.names.map((name) => `${params[name]}`);
            expect(ours, `${pattern.source} on ${key}`).toEqual(reference(all, key));
            runs += 1;
            if (ours !== null) matched += 1;
          }
        },
      ),
      { numRuns: 2_000 },
    );
    expect(matched / runs).toBeGreaterThan(0.05);
  });
});
