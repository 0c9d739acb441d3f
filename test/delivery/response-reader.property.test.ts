import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ResponseReader } from '../../src/delivery/response-reader.js';

const PIECES = [
  '\r\n',
  '\n',
  'HTTP/1.1 103 Hints\r\nlink: </a>\r\n\r\n',
  'HTTP/1.1 101 X\r\nupgrade: h2c\r\n\r\n',
  'HTTP/1.1 101 X\r\n\r\n',
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 204\n',
  'HTTP/1.1 099 Odd\r\n',
  'HTTP/1.1 2000\r\n',
  'content-length: 2\r\n',
  '\r\n\r\n',
  'ok',
  'a: '.padEnd(50_000, 'b'),
  'x'.repeat(3_000),
];

/** The input of a parser, and the expected results. */
function read(chunks: readonly Buffer[]) {
  const reader = new ResponseReader();
  const passed: Buffer[] = [];
  for (const chunk of chunks) {
    if (reader.isOverLimit) break;
    passed.push(reader.pass(chunk) ?? Buffer.alloc(0));
  }
  const { status, isOverLimit } = reader;
  return { passed: Buffer.concat(passed).toString('latin1'), status, isOverLimit };
}

it('a response is read the same in any division into packets', () => {
  const text = fc.array(fc.constantFrom(...PIECES), { maxLength: 8 }).map((all) => all.join(''));
  const sizes = fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 40_000 })), {
    minLength: 1,
    maxLength: 50,
  });
  fc.assert(
    fc.property(text, sizes, (whole, packets) => {
      const bytes = Buffer.from(whole);
      const chunks: Buffer[] = [];
      let at = 0;
      for (const size of packets) {
        chunks.push(bytes.subarray(at, at + size));
        at += size;
      }
      chunks.push(bytes.subarray(at));
      const inPackets = read(chunks.filter((chunk) => chunk.length > 0));
      expect(inPackets).toEqual(read(bytes.length > 0 ? [bytes] : []));
    }),
  );
});
