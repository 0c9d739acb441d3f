/** The server that a suite keeps the state in. Some suites run once for each kind: vitest.config.ts. */
import { inject } from 'vitest';
import { type RunningRedis, startRedis } from '../../scripts/lib/redis-server.mjs';
import { serveSlotOf, startClusterNode } from './cluster-node.js';

declare module 'vitest' {
  interface ProvidedContext {
    readonly stateServer: 'alone' | 'cluster_node';
  }
}

const isClusterNode = () => inject('stateServer') === 'cluster_node';

export async function startStateServer(): Promise<RunningRedis> {
  return isClusterNode() ? startClusterNode() : startRedis();
}

/** A node of a cluster accepts the keys of this prefix, and none of other slots. */
export async function takeKeysOf(port: number, prefix: string): Promise<void> {
  if (isClusterNode()) await serveSlotOf(port, `{${prefix}}`);
}
