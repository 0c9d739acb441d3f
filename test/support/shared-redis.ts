import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import type { RunningRedis } from '../../scripts/lib/redis-server.mjs';
import { PREFIX } from './dead-letters.js';
import { startStateServer, takeKeysOf } from './state-server.js';

export interface SharedRedis {
  readonly server: RunningRedis;
  readonly client: Redis;
}

/**
 * A Redis for all tests of a file, and a client of it; both exist once the tests run. Each test
 * finds it empty, so that it does not deliver the accepted deliveries of another test.
 * Tests that run at the same time need keys of their own instead (`emptied: 'once'`).
 */
export function sharedRedis({
  emptied = 'for_each_test',
}: {
  readonly emptied?: 'for_each_test' | 'once';
} = {}): SharedRedis {
  let server: RunningRedis | undefined;
  let client: Redis | undefined;
  beforeAll(async () => {
    server = await startStateServer();
    await takeKeysOf(server.port, PREFIX);
    client = new Redis(server.url, { protocol: 2 });
  });
  if (emptied === 'for_each_test') beforeEach(() => client?.flushall());
  afterAll(async () => {
    client?.disconnect();
    await server?.stop();
  });
  function present<Part>(part: Part | undefined): Part {
    if (part === undefined) throw new Error('the shared Redis is there only while tests run');
    return part;
  }
  return {
    get server() {
      return present(server);
    },
    get client() {
      return present(client);
    },
  };
}
