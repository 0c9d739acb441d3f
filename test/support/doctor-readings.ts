/** Ready-made readings; each test names only what it is about. */

import type { ServerReading } from '../../src/doctor/server.js';
import type { RedisSettings, Settings } from '../../src/model/vocabulary.js';
import { parseInfo } from '../../src/server/info.js';
import { API_PARTS, anEndpoint, aRoute } from './domain.js';

export function aReading(given: Partial<ServerReading> = {}): ServerReading {
  return {
    software: 'redis',
    version: '7.0.15',
    isCluster: false,
    isSentinel: false,
    primaries: null,
    runId: null,
    role: 'primary',
    primary: null,
    roundTripMs: 0.3,
    clockAheadMs: 2,
    info: parseInfo(''),
    settings: new Map(),
    ...given,
  };
}

export function redisSettings(given: Partial<RedisSettings> = {}): RedisSettings {
  return {
    host: 'redis.internal',
    port: 6379,
    path: null,
    sentinel: null,
    cluster: null,
    tls: null,
    username: null,
    password: null,
    files: null,
    databases: [0],
    notifications: 'manage',
    ...given,
  };
}

export function theSettings(given: Partial<Settings> = {}): Settings {
  const redis = given.redis ?? redisSettings();
  return {
    redis,
    state: {
      kind: 'redis',
      redis,
      database: 0,
      section: 'redis',
      prefix: 'expiry-relay',
      deadLetters: { keepMs: 1_000, countMax: 10 },
      unknownEndpointGraceMs: 1_000,
    },
    endpoints: new Map([['shop', anEndpoint()]]),
    routes: [aRoute()],
    admin: { listen: { host: '127.0.0.1', port: 0 }, page: API_PARTS.page() },
    log: { level: 'info', format: 'json' },
    shutdown: { graceMs: 1_000 },
    ...given,
  };
}
