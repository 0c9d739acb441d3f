/** A redis-server whose clock a test sets while it runs, and across its restarts. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findRedisServer, type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';

const SOURCE = fileURLToPath(new URL('./settable-clock.c', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'expiry-relay-clock-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** Null when it has been compiled; else why the tests that need it are skipped. */
function compiled(path: string): string | null {
  if (process.platform !== 'linux') return 'setting the clock of Redis needs Linux';
  if (findRedisServer()?.kind !== 'binary')
    return 'setting the clock of Redis needs a redis-server';
  const { status, error } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', path, SOURCE], {
    stdio: 'inherit',
  });
  if (status === 0) return null;
  if (error !== undefined) return 'setting the clock of Redis needs a C compiler (cc)';
  throw new Error(`expected cc to compile ${SOURCE}; its messages are above`);
}

const LIBRARY = join(folder, 'settable-clock.so');

/** Why the clock of Redis cannot be set here; null when it can. */
export const clockIsFixedBecause = compiled(LIBRARY);

export interface RedisWithClock extends AsyncDisposable {
  readonly redis: RunningRedis;
  /** Sets the offset of its wall clock from the machine's; a restart keeps it. */
  setAheadMs(aheadMs: number): void;
  /** The time by its clock. */
  nowMs(): number;
}

let files = 0;

export async function startRedisWithClock(args: readonly string[] = []): Promise<RedisWithClock> {
  files += 1;
  const path = join(folder, `ahead-${files}`);
  let aheadMs = 0;
  writeFileSync(path, Buffer.alloc(8));
  const fd = openSync(path, 'r+');
  const redis = await startRedis({
    args,
    env: { LD_PRELOAD: LIBRARY, SETTABLE_CLOCK_FILE: path },
  });
  return {
    redis,
    setAheadMs: (ms) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigInt64LE(BigInt(ms));
      writeSync(fd, bytes, 0, 8, 0);
      aheadMs = ms;
    },
    nowMs: () => Date.now() + aheadMs,
    [Symbol.asyncDispose]: async () => {
      await redis.stop();
      closeSync(fd);
    },
  };
}
