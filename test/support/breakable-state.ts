/** A state Redis behind a proxy; a write can fail before or after it is stored. */
import { expect, onTestFinished } from 'vitest';
import { eventually } from './eventually.js';
import { openState } from './redis-state.js';
import type { SharedRedis } from './shared-redis.js';
import { TcpProxy } from './tcp-proxy.js';

const UNREACHABLE = /^the state Redis at .* cannot be reached$/;

export async function openBreakableState(shared: SharedRedis, prefix: string) {
  const proxy = await TcpProxy.start(shared.server.port);
  const opened = await openState(proxy.port, prefix);
  const { redis } = opened.state;
  onTestFinished(async () => {
    await opened[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });
  /** Loses replies while `step` runs, and then closes the connection, which is reopened. */
  const loseReplies = async (step: () => Promise<unknown>) => {
    proxy.loseReplies();
    await step();
    proxy.cut(false);
    await eventually('the loss of the connection', () => redis.status !== 'ready');
    await connected();
  };
  const connected = () => eventually('the connection', () => redis.status === 'ready');
  return {
    opened,
    /** The write does not reach the server. */
    async failsNotStored(write: () => Promise<unknown>) {
      proxy.cut(true);
      await expect(write()).rejects.toThrow(UNREACHABLE);
      proxy.cut(false);
      await connected();
    },
    /** The write reaches the server, which `isStored` shows, and its reply never arrives. */
    async failsStored(write: () => Promise<unknown>, isStored: () => Promise<boolean>) {
      let failed: Promise<unknown> = Promise.resolve();
      await loseReplies(() => {
        failed = expect(write()).rejects.toThrow(UNREACHABLE);
        return eventually('it is stored', isStored);
      });
      await failed;
    },
    loseReplies,
  };
}
