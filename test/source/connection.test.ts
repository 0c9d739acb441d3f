import { Redis } from 'ioredis';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedis } from '../../scripts/lib/redis-server.mjs';
import { systemClock } from '../../src/lib/clock.js';
import { connect } from '../../src/redis/connect.js';
import { ReconnectingConnection } from '../../src/source/connection.js';

async function aConnection() {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  const other = new Redis(server.url, { protocol: 2 });
  onTestFinished(() => other.disconnect());
  const closing = new AbortController();
  onTestFinished(() => closing.abort());
  const reasons: string[] = [];
  let laterMs = 0;
  /** A connection that has been open long enough to be reopened. */
  const hasLasted = () => {
    laterMs += 2_000;
  };
  const settings = {
    host: '127.0.0.1',
    port: server.port,
    path: null,
    sentinel: null,
    cluster: null,
    tls: null,
    files: null,
  };
  const address = { ...settings, username: null, password: null };
  const connection = await ReconnectingConnection.open({
    open: () => connect(address, 'sweep', closing.signal),
    onReopened: ({ message }) => reasons.push(message),
    clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs },
    closing: closing.signal,
  });
  const kill = () => other.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  return { server, other, connection, closing, reasons, kill, hasLasted };
}

describe('a connection that is opened again', () => {
  it('executes commands that were sent while it was closed, and reports the reason', async () => {
    const { connection, reasons, kill } = await aConnection();
    await kill();
    expect(await connection.run((redis) => redis.ping())).toBe('PONG');
    expect(reasons).toEqual([expect.stringContaining('closed the connection')]);
    const echoes = Promise.all([1, 2, 3].map((n) => connection.run((redis) => redis.echo(`${n}`))));
    expect(await echoes).toEqual(['1', '2', '3']);
  });

  it('passes on an error of Redis, and sends the command once', async () => {
    const { connection, other } = await aConnection();
    await other.set('text', 'a');
    let times = 0;
    const refused = connection.run((redis) => {
      times += 1;
      return redis.incr('text');
    });
    await expect(refused).rejects.toThrow('not an integer');
    expect(times).toBe(1);
  });

  it('ends when it cannot be opened again, and rejects its commands', async () => {
    const { server, connection } = await aConnection();
    await server.kill('SIGKILL');
    // A process that is being killed may accept one more connection, and close it.
    const dead = /cannot be reached|accepts connections and closes them/;
    await expect(connection.run((redis) => redis.ping())).rejects.toThrow(dead);
    expect((await connection.ended).message).toMatch(dead);
  });

  it('ends when it is closed again at once', async () => {
    const { connection, kill, reasons } = await aConnection();
    await kill();
    await connection.run((redis) => redis.ping());
    await kill();
    expect((await connection.ended).message).toContain('closed the connection');
    expect(reasons).toHaveLength(1);
  });

  it('is opened again each time after it has lasted', async () => {
    const { connection, kill, reasons, hasLasted } = await aConnection();
    for (let times = 1; times <= 3; times += 1) {
      await kill();
      await connection.run((redis) => redis.ping());
      expect(reasons).toHaveLength(times);
      hasLasted();
    }
  });

  it('ends with its session', async () => {
    const { connection, closing } = await aConnection();
    closing.abort();
    await connection.ended;
    await expect(connection.run((redis) => redis.ping())).rejects.toThrow();
  });
});
