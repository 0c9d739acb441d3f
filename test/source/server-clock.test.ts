import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../src/source/server-clock.js';
import { ManualClock } from '../support/manual-clock.js';

const HOUR_MS = 3_600_000;

/** A server whose clock is so far ahead of ours. */
function aServer(aheadMs: number) {
  const clock = new ManualClock();
  const serverClock = new ServerClock(clock);
  const server = { aheadMs };
  /** What answers its question; question and answer are under way for so long. */
  const answering = (thereMs: number, backMs: number) => {
    const time = async (): Promise<[number, number]> => {
      await clock.advance(thereMs);
      const nowMs = clock.nowMs() + server.aheadMs;
      await clock.advance(backMs);
      return [Math.floor(nowMs / 1_000), (nowMs % 1_000) * 1_000];
    };
    return { time } as unknown as Parameters<ServerClock['ask']>[0];
  };
  const ask = (thereMs: number, backMs: number) => serverClock.ask(answering(thereMs, backMs));
  const errorMs = () => serverClock.nowMs() - (clock.nowMs() + server.aheadMs);
  return { clock, serverClock, server, answering, ask, errorMs };
}

describe("the server's clock", () => {
  it('is ours, before it has answered', () => {
    const { clock, serverClock } = aServer(HOUR_MS);
    expect(serverClock.nowMs()).toBe(clock.nowMs());
  });

  it.each([0, HOUR_MS, -HOUR_MS])('is known when it is %d ms ahead of ours', async (aheadMs) => {
    const { ask, errorMs, clock } = aServer(aheadMs);
    await ask(1, 1);
    expect(errorMs()).toBe(0);
    await clock.advance(10_000);
    expect(errorMs()).toBe(0);
  });

  it('is believed by the quickest answer', async () => {
    const { ask, errorMs } = aServer(HOUR_MS);
    await ask(0, 80);
    expect(errorMs()).toBe(-40);
    await ask(1, 2);
    expect(errorMs()).toBe(-0.5);
    await ask(0, 100);
    expect(errorMs()).toBe(-0.5);
  });

  it('is asked anew after a while: old answers count no more', async () => {
    const { ask, errorMs, server } = aServer(0);
    await ask(1, 1);
    // It drifts, by less than anybody would call setting it.
    server.aheadMs = 2;
    for (let times = 0; times < 4; times += 1) await ask(5, 5);
    expect(errorMs()).toBe(0);
  });

  it('that somebody sets is believed at once', async () => {
    const { ask, errorMs, server } = aServer(0);
    await ask(1, 1);
    server.aheadMs = -HOUR_MS;
    await ask(20, 20);
    expect(errorMs()).toBe(0);
  });

  it('of another server is another', async () => {
    const { ask, answering, errorMs, server, serverClock } = aServer(0);
    await ask(1, 1);
    server.aheadMs = 8;
    await serverClock.askAnew(answering(5, 5));
    expect(errorMs()).toBe(0);
  });

  it('is believed until the next server has answered, or does not tell', async () => {
    const { ask, clock, errorMs, serverClock } = aServer(HOUR_MS);
    await ask(1, 1);
    const away = { time: () => Promise.reject(new Error('Connection is closed.')) };
    await expect(serverClock.askAnew(away as never)).rejects.toThrow('closed');
    expect(errorMs()).toBe(0);
    serverClock.forget();
    expect(serverClock.nowMs()).toBe(clock.nowMs());
  });
});
