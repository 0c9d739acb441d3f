import { describe, expect, it } from 'vitest';
import { ServerClock } from '../../src/redis/server-clock.js';
import { ManualClock } from '../support/manual-clock.js';

const HOUR_MS = 3_600_000;

/** A server whose clock is this far ahead of ours. */
function aServer(aheadMs: number, onSet?: (stepMs: number) => void) {
  const clock = new ManualClock();
  const serverClock = new ServerClock(clock, onSet);
  const server = { aheadMs };
  /** Replies to TIME; the command and its reply take this long. */
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
  it('is ours before its first reply', () => {
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

  it('is estimated from the quickest reply', async () => {
    const { ask, errorMs } = aServer(HOUR_MS);
    await ask(0, 80);
    expect(errorMs()).toBe(-40);
    await ask(1, 2);
    expect(errorMs()).toBe(-0.5);
    await ask(0, 100);
    expect(errorMs()).toBe(-0.5);
  });

  it('is read again after a while: old replies are discarded', async () => {
    const { ask, errorMs, server } = aServer(0);
    await ask(1, 1);
    // It drifts by less than the threshold of a step.
    server.aheadMs = 2;
    for (let times = 0; times < 4; times += 1) await ask(5, 5);
    expect(errorMs()).toBe(0);
  });

  it('is followed at once when it is set', async () => {
    const { ask, errorMs, server } = aServer(0);
    await ask(1, 1);
    server.aheadMs = -HOUR_MS;
    await ask(20, 20);
    expect(errorMs()).toBe(0);
  });

  it('of another server is estimated separately', async () => {
    const { ask, answering, errorMs, server, serverClock } = aServer(0);
    await ask(1, 1);
    server.aheadMs = 8;
    await serverClock.begin(answering(5, 5));
    expect(errorMs()).toBe(0);
  });

  it('is used until the next server has replied or refused', async () => {
    const { ask, clock, errorMs, serverClock } = aServer(HOUR_MS);
    await ask(1, 1);
    const away = { time: () => Promise.reject(new Error('Connection is closed.')) };
    await expect(serverClock.begin(away as never)).rejects.toThrow('closed');
    expect(errorMs()).toBe(0);
    const refusal = Object.assign(new Error('NOPERM'), { name: 'ReplyError' });
    expect(await serverClock.begin({ time: () => Promise.reject(refusal) })).toBeNull();
    expect(serverClock.nowMs()).toBe(clock.nowMs());
  });

  describe('when it is set', () => {
    async function setBy(stepMs: number) {
      const steps: number[] = [];
      const under = aServer(0, (ms) => steps.push(ms));
      await under.ask(1, 1);
      await under.clock.advance(1_000);
      under.server.aheadMs = stepMs;
      const readMs = under.serverClock.nowMs();
      await under.clock.advance(500);
      return { ...under, steps, readMs };
    }

    it.each([1_000, HOUR_MS, -HOUR_MS])(
      'by %d ms, corrects times that were read before the step was detected',
      async (stepMs) => {
        const { ask, serverClock, readMs, clock, steps } = await setBy(stepMs);
        expect(serverClock.corrected(readMs)).toBe(readMs);
        await ask(1, 1);
        expect(serverClock.corrected(readMs)).toBe(readMs + stepMs);
        await clock.advance(100);
        const laterMs = serverClock.nowMs();
        expect(serverClock.corrected(laterMs)).toBe(laterMs);
        expect(steps).toEqual([stepMs]);
      },
    );

    it('distinguishes times written after the step from times an hour before', async () => {
      const { ask, serverClock, clock, server } = await setBy(-HOUR_MS);
      const writtenMs = clock.nowMs() + server.aheadMs;
      await clock.advance(100);
      await ask(1, 1);
      expect(serverClock.correctedWritten(writtenMs)).toBe(writtenMs);
      const beforeMs = writtenMs + HOUR_MS - 10_000;
      expect(serverClock.correctedWritten(beforeMs)).toBe(beforeMs - HOUR_MS);
    });

    it('is detected by TIME in a pipeline of other commands', async () => {
      const { answering, serverClock, errorMs, steps } = await setBy(HOUR_MS);
      const tell = serverClock.question();
      const reply = await answering(100, 300).time();
      tell(reply);
      expect(Math.abs(errorMs())).toBeLessThanOrEqual(200);
      expect(steps).toEqual([HOUR_MS - 100]);
    });

    it('is not undone by a reply that was in flight when the step was detected', async () => {
      const { ask, answering, serverClock, server, errorMs } = await setBy(HOUR_MS);
      server.aheadMs = 0;
      const tell = serverClock.question();
      const before = await answering(0, 5).time();
      server.aheadMs = HOUR_MS;
      await ask(1, 1);
      tell(before);
      expect(errorMs()).toBe(0);
    });

    it('by less than a second is followed without a log message', async () => {
      const { ask, errorMs, steps } = await setBy(200);
      await ask(1, 1);
      expect(errorMs()).toBe(0);
      expect(steps).toEqual([]);
    });
  });
});
