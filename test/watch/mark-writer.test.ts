import { expect, it } from 'vitest';
import { Sequence } from '../../src/capture/sequence.js';
import type { Session } from '../../src/source/session.js';
import { isFirstMark, MarkWriter } from '../../src/watch/mark-writer.js';

/** A writer, and a session that receives a mark once it has received all that was published before. */
function aWriter() {
  const lease: { generation: number | null } = { generation: 7 };
  const sequence = new Sequence();
  const published: string[] = [];
  const given = { isForbidden: false, isLost: false };
  const publish = async (number: string) => {
    if (given.isForbidden) return null;
    published.push(`run.${number}`);
    return `run.${number}`;
  };
  const barrier = async () => {
    if (given.isLost) throw new Error('the connection is lost');
    for (const mark of published.splice(0)) sequence.mark(mark);
  };
  const aSession = () => ({ marks: { publish }, barrier }) as unknown as Session;
  let session = aSession();
  let sessions = 0;
  const writer = new MarkWriter(lease, sequence, () => {
    sessions += 1;
    return sessions - 1;
  });
  const reconnect = () => {
    session = aSession();
  };
  return { write: () => writer.write(session), reconnect, lease, given };
}

it('marks are numbered within the generation of the lease, and the first of each generation is known as such', async () => {
  const { write, lease } = aWriter();
  const marks = [await write(), await write()];
  lease.generation = 9;
  marks.push(await write(), await write());
  expect(marks).toEqual(['run.7.1', 'run.7.2', 'run.9.1000000001', 'run.9.1000000002']);
  expect(marks.map((mark) => isFirstMark(mark ?? ''))).toEqual([true, false, true, false]);
  expect(isFirstMark('run.9.11')).toBe(false);
});

it('the first mark after a gap is known as such, although the lease is the same, and no number is used twice', async () => {
  const { write, reconnect } = aWriter();
  const marks = [await write(), await write()];
  reconnect();
  marks.push(await write(), await write());
  expect(marks.map((mark) => isFirstMark(mark ?? ''))).toEqual([true, false, true, false]);
  expect(new Set(marks).size).toBe(4);
});

it('no mark is written without the lease', async () => {
  const { write, lease } = aWriter();
  lease.generation = null;
  expect(await write()).toBeNull();
  lease.generation = 7;
  expect(await write()).toBe('run.7.1');
});

it('a mark that must not be written, or is not received, has no name, and its number is not used again', async () => {
  const { write, given } = aWriter();
  given.isForbidden = true;
  expect(await write()).toBeNull();
  given.isForbidden = false;
  given.isLost = true;
  expect(await write()).toBeNull();
  given.isLost = false;
  expect(await write()).toBe('run.7.3');
});
