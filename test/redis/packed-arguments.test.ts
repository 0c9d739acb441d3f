import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PackedArguments } from '../../src/redis/packed-arguments.js';
import { sharedRedis } from '../support/shared-redis.js';

const shared = sharedRedis();

/** What a script reads. */
const unpacked = (chunks: readonly Buffer[]) =>
  shared.client.callBuffer(
    'EVAL',
    'return cmsgpack.unpack(table.concat(ARGV))',
    0,
    ...chunks,
  ) as Promise<Buffer[]>;

it('a script reads packed arguments as they were, byte for byte', async () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
  const items = fc.array(fc.oneof(bytes, fc.string({ unit: 'binary', maxLength: 50 }), fc.nat()), {
    maxLength: 50,
  });
  await fc.assert(
    fc.asyncProperty(items, async (list) => {
      const packed = new PackedArguments();
      for (const item of list) packed.add(item);
      const expected = list.map((item) =>
        Buffer.from(typeof item === 'number' ? String(item) : item),
      );
      expect(await unpacked(packed.chunks)).toEqual(expected);
    }),
  );
});

it('a script reads an argument of two parts as one, also beyond the first buffer', async () => {
  const packed = new PackedArguments();
  const large = Buffer.alloc(100_000, 'x');
  packed.add('é:', Buffer.from([0xff]));
  packed.add(large, large);
  packed.add('');
  expect(await unpacked(packed.chunks)).toEqual([
    Buffer.from([0xc3, 0xa9, 0x3a, 0xff]),
    Buffer.concat([large, large]),
    Buffer.alloc(0),
  ]);
});
