import { describe, expect, it } from 'vitest';
import { type Fate, verdict } from '../../src/source/canary.js';
import { Listening, proverOf } from '../support/listening.js';

const never = new AbortController().signal;

describe.concurrent('the canary', () => {
  it('is received in each database', async () => {
    await using listening = await Listening.start();
    for (const database of [0, 1]) {
      const result = await listening.canary.prove(database, never);
      expect(result).toEqual({
        kind: 'received',
        lagMs: expect.any(Number),
        receivesChanges: true,
      });
    }
  });

  it('is received when only its first key was flushed', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    const written: string[] = [];
    await listening.onWrite((key) => {
      if (written.push(key) === 1) void other.flushdb();
    });
    expect(await canary.prove(0, never)).toMatchObject({ kind: 'received' });
    expect(written.length).toBeGreaterThan(1);
  });

  it('is removed when every key of it vanishes before its deadline: flushed, deleted or evicted', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    await listening.onWrite((key) => void other.del(key));
    expect(await canary.prove(0, never)).toEqual({ kind: 'removed' });
  });

  it('is evicted when its removals are received: notifications work', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    await listening.onWrite((key) => {
      void other.multi().del(key).publish('__keyevent@0__:evicted', key).exec();
    });
    expect(await canary.prove(0, never)).toEqual({ kind: 'evicted' });
  });

  it('is not needed when an event of another key of its database is received', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    await listening.onWrite((key) => {
      if (key.includes(':canary:')) void other.multi().del(key).set('order:1', '', 'PX', 10).exec();
    });
    expect(await canary.prove(0, never)).toEqual({ kind: 'flowing' });
  });

  it('is not proved by a key of another database', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    await other.select(1);
    await listening.onWrite((key) => {
      void other.multi().select(0).del(key).select(1).set('order:1', '', 'PX', 10).exec();
    });
    expect(await canary.prove(0, never)).toEqual({ kind: 'removed' });
  });

  it('is lost when it expires without a notification', async () => {
    await using listening = await Listening.start();
    await listening.other.config('SET', 'notify-keyspace-events', '');
    const beganMs = performance.now();
    expect(await listening.canary.prove(0, never)).toEqual({ kind: 'lost' });
    expect(performance.now() - beganMs).toBeLessThan(15_000);
  });

  it('is received even if the read before its deadline was late and expired it', async () => {
    await using listening = await Listening.start();
    await listening.onWrite(() => void listening.keepWaiting(200));
    expect(await listening.canary.prove(0, never)).toMatchObject({ kind: 'received' });
  });

  it('is lost, not removed, when such a read is late and no notification is received', async () => {
    await using listening = await Listening.start();
    await listening.other.config('SET', 'notify-keyspace-events', 'E$');
    await listening.onWrite(() => void listening.keepWaiting(200));
    expect(await listening.canary.prove(0, never)).toEqual({ kind: 'lost' });
  });

  it('is waited for while CLIENT PAUSE keeps keys from expiring', async () => {
    await using listening = await Listening.start();
    const { canary, other } = listening;
    let paused = false;
    await listening.onWrite(() => {
      if (!paused) void other.call('CLIENT', 'PAUSE', '1000', 'WRITE');
      paused = true;
    });
    const result = await canary.prove(0, never);
    expect(result.kind === 'received' && result.lagMs).toBeGreaterThan(500);
  });

  it('cannot be written in a database that the server does not have', async () => {
    await using listening = await Listening.start('--databases', '2');
    expect(await listening.canary.prove(2, never)).toEqual({ kind: 'no_database' });
  });

  it('is given up at once when the session closes', async () => {
    await using listening = await Listening.start();
    await listening.other.config('SET', 'notify-keyspace-events', 'E$');
    const closing = new AbortController();
    await listening.onWrite(() => closing.abort());
    const beganMs = performance.now();
    await expect(listening.canary.prove(0, closing.signal)).rejects.toThrow('aborted');
    expect(performance.now() - beganMs).toBeLessThan(1_000);
  });
});

describe('verdict', () => {
  it.each<[Fate[], string]>([
    [['removed', 'removed', 'removed'], 'removed'],
    [['removed', 'unknown', 'removed'], 'removed'],
    [['removed', 'unpublished', 'removed'], 'lost'],
    [['unpublished', 'unpublished', 'unpublished'], 'lost'],
    [['unknown', 'unknown', 'unknown'], 'lost'],
  ])('%j: %s', (fates, kind) => {
    expect(verdict(fates)).toEqual({ kind });
  });
});

describe.concurrent('the prover', () => {
  it('logs once that the canary is removed, and once that it has recovered', async () => {
    await using listening = await Listening.start();
    const { prover, lines, events } = proverOf(listening, [0]);
    let removing = true;
    await listening.onWrite((key) => {
      if (removing) void listening.other.del(key);
    });
    await prover.proveAll(never);
    await prover.proveAll(never);
    expect(prover.proof.kind).toBe('failing');
    expect(lines).toMatchObject([
      {
        event: 'canary_removed',
        reason: expect.stringContaining('removed before its deadline, by a flush'),
      },
    ]);
    removing = false;
    await prover.proveAll(never);
    await prover.proveAll(never);
    expect(prover.proof).toEqual({ kind: 'proved', note: null });
    expect(events()).toEqual(['canary_removed', 'canary_recovered']);
  });

  it('accepts an evicted canary, warns once, and logs the recovery once', async () => {
    await using listening = await Listening.start();
    const { prover, lines, events } = proverOf(listening, [0]);
    let evicting = true;
    await listening.onWrite((key) => {
      if (evicting) {
        void listening.other.multi().del(key).publish('__keyevent@0__:evicted', key).exec();
      }
    });
    const beganAtMs = prover.provedAtMs;
    await prover.proveAll(never);
    await prover.proveAll(never);
    expect(prover.proof).toMatchObject({ kind: 'evicted' });
    expect(prover.provedAtMs).toBeGreaterThan(beganAtMs);
    expect(lines).toMatchObject([
      { event: 'canary_evicted', reason: expect.stringContaining('evicted or deleted') },
    ]);
    evicting = false;
    await prover.proveAll(never);
    expect(prover.proof).toMatchObject({ kind: 'proved' });
    expect(events()).toEqual(['canary_evicted', 'canary_recovered']);
  });

  it('does not accept an evicted canary where the setting is hidden', async () => {
    await using listening = await Listening.start();
    const { prover } = proverOf(listening, [0], null);
    await listening.onWrite((key) => {
      void listening.other.multi().del(key).publish('__keyevent@0__:evicted', key).exec();
    });
    await prover.proveAll(never);
    expect(prover.proof.kind).toBe('failing');
  });

  it('verifies the server in each round, before and after a failure', async () => {
    await using listening = await Listening.start();
    const { prover } = proverOf(listening, [0]);
    let looks = 0;
    const recheck = async () => {
      looks += 1;
      if (looks === 2) throw new Error('demoted');
      await listening.other.config('SET', 'maxmemory', '1');
    };
    await expect(prover.proveForever(recheck, never)).rejects.toThrow('demoted');
    expect(prover.proof.kind).toBe('failing');
  });

  it('fails while one of the databases is unproved', async () => {
    await using listening = await Listening.start();
    const { prover } = proverOf(listening, [0, 1]);
    await listening.onWrite((key) => void listening.other.del(key));
    await prover.proveAll(never);
    expect(prover.proof).toMatchObject({
      kind: 'failing',
      reason: expect.stringContaining('in database 0'),
    });
  });

  it('logs the reason that the canary cannot be written only when it changes', async () => {
    await using listening = await Listening.start();
    const { other } = listening;
    const { prover, lines, events } = proverOf(listening, [0, 1]);
    await other.config('SET', 'maxmemory', '1');
    await prover.proveAll(never);
    await prover.proveAll(never);
    expect(lines).toMatchObject([
      { event: 'canary_unwritable', error: expect.stringContaining('OOM') },
    ]);
    expect(prover.proof).toMatchObject({
      kind: 'failing',
      reason: expect.stringContaining('cannot be written: OOM'),
    });
    await other.config('SET', 'maxmemory', '0');
    await other.config('SET', 'min-replicas-to-write', '1');
    await prover.proveAll(never);
    expect(lines[1]).toMatchObject({ error: expect.stringContaining('NOREPLICAS') });
    await other.config('SET', 'min-replicas-to-write', '0');
    await prover.proveAll(never);
    expect(events()).toEqual(['canary_unwritable', 'canary_unwritable', 'canary_recovered']);
  });

  it.each([
    [null, 'Ex', ['notifications_partial']],
    ['Exge', 'Ex', ['notifications_partial']],
    // Already logged when the setting was read.
    ['Ex', 'Ex', []],
    [null, 'Exg', []],
  ])(
    'where the server shows %j and %s is in force: warnings %j',
    async (shown, flags, warnings) => {
      await using listening = await Listening.start('--notify-keyspace-events', flags);
      const { prover, events } = proverOf(listening, [0, 1], shown);
      await prover.proveAll(never);
      await prover.proveAll(never);
      expect(events()).toEqual(warnings);
      const note = flags === 'Ex' ? expect.stringContaining('only expirations are received') : null;
      expect(prover.proof).toEqual({ kind: 'proved', note });
    },
  );

  it('detects that class g was removed from a hidden setting', async () => {
    await using listening = await Listening.start();
    const { prover } = proverOf(listening, [0], null);
    await prover.proveAll(never);
    await listening.other.config('SET', 'notify-keyspace-events', 'Ex');
    await expect(prover.proveAll(never)).rejects.toThrow(/class g was removed/);
  });
});
