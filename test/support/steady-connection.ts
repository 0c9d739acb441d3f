/** A connection for the duration of a test, and a server that stays the primary. */
import type { Redis } from 'ioredis';
import type { CommandRunner } from '../../src/source/connection.js';

export function steady(redis: Redis): CommandRunner {
  return { run: (step) => step(redis) };
}

export async function isPrimary(): Promise<void> {}
