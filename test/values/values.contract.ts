/** The contract of every store of values. Called once for each implementation. */
import { describe, expect, it } from 'vitest';
import type { Deadline } from '../../src/model/vocabulary.js';
import type { Values, ValueToKeep } from '../../src/values/values.js';

export const NOW_MS = Date.parse('2026-11-22T06:00:00.000Z');

export const due = (key: string | Buffer, inMs: number, database = 0): Deadline => ({
  database,
  key: Buffer.from(key),
  deadlineMs: NOW_MS + inMs,
});

export const worth = (text: string, deadline: Deadline): ValueToKeep => ({
  ...deadline,
  value: { value: text, base64: null, omitted: null, readAtMs: NOW_MS },
  bytes: text.length,
});

export async function texts(values: Values, ...keys: Deadline[]): Promise<unknown[]> {
  return (await values.read(keys)).map((kept) => kept?.value.value ?? null);
}

export function describeValues(
  name: string,
  open: () => Promise<AsyncDisposable & { readonly values: Values }>,
): void {
  describe(name, () => {
    it('keeps one value for each key: the last, with the deadline that it was read with', async () => {
      await using opened = await open();
      const { values } = opened;
      const [a, b] = [due('a', 5), due(Buffer.from([0x80, 0]), 9, 1)];
      await values.keep([worth('old', due('a', 3)), worth('one', a), worth('two', b)]);
      expect(await texts(values, b, a, due('c', 5), due('a', 5, 1))).toEqual([
        'two',
        'one',
        null,
        null,
      ]);
      expect((await values.read([a]))[0]?.deadlineMs).toBe(a.deadlineMs);
    });

    it('keeps a value, and the reason for a missing one', async () => {
      await using opened = await open();
      const { values } = opened;
      const nested = { a: ['x', { b: 1.5 }], c: null };
      const read = {
        ...due('a', 5),
        value: { value: nested, base64: ['eA=='], omitted: null, readAtMs: 7 },
        bytes: 12,
      };
      const none = {
        ...due('b', 5),
        value: { value: null, base64: null, omitted: 'too_large' as const, readAtMs: 8 },
        bytes: 0,
      };
      await values.keep([read, none]);
      const [first, second] = await values.read([read, none]);
      expect(first).toEqual({ value: read.value, bytes: 12, deadlineMs: read.deadlineMs });
      expect(second).toEqual({ value: none.value, bytes: 0, deadlineMs: none.deadlineMs });
    });

    it('has no value that was stored with another deadline', async () => {
      await using opened = await open();
      const { values } = opened;
      await values.keep([worth('one', due('a', 5)), worth('two', due('b', 5))]);
      const asked = [due('a', 5), due('b', 6), due('c', 5), due('a', 5, 1)];
      expect(await values.findMissing(asked)).toEqual(asked.slice(1));
    });

    it('forgets the value of one life of a key, or of all', async () => {
      await using opened = await open();
      const { values } = opened;
      const keys = [due('a', 5), due('b', 5), due('c', 5)];
      await values.keep(keys.map((key) => worth('x', key)));
      const [a, b, c] = keys as [Deadline, Deadline, Deadline];
      await values.forget([a, { ...b, deadlineMs: NOW_MS + 4 }, { ...c, deadlineMs: null }]);
      expect(await texts(values, a, b, c)).toEqual([null, 'x', null]);
      expect(await values.findMissing(keys)).toEqual([a, c]);
    });

    it('forgets a database, and no other', async () => {
      await using opened = await open();
      const { values } = opened;
      await values.keep([worth('one', due('a', 5)), worth('two', due('a', 5, 1))]);
      await values.forgetAll(0);
      expect(await texts(values, due('a', 5), due('a', 5, 1))).toEqual([null, 'two']);
    });

    it('accepts any number at a time', async () => {
      await using opened = await open();
      const { values } = opened;
      const keys = Array.from({ length: 450 }, (_, n) => due(`k${n}`, n));
      await values.keep(keys.map((key, n) => worth(String(n), key)));
      expect(await texts(values, ...keys)).toEqual(keys.map((_, n) => String(n)));
      await values.forget(keys);
      expect(await values.findMissing(keys)).toHaveLength(450);
    });
  });
}
