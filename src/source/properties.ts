/** Settings of the watched server that the guarantees rest on, and that anybody may change any time. */
import type { Redis } from 'ioredis';
import type { SourceEvents } from '../events/source-events.js';
import { addressOf } from '../redis-client.js';
import type { RedisSettings } from '../vocabulary.js';

/** How each of them is read; null where the server does not show it. */
const PROPERTIES: Readonly<Record<string, (redis: Redis) => Promise<string | null>>> = {
  'maxmemory-policy': (redis) => shownBy(redis, 'memory', 'maxmemory_policy'),
  maxmemory: (redis) => shownBy(redis, 'memory', 'maxmemory'),
  appendonly: (redis) => shownBy(redis, 'persistence', 'aof_enabled'),
};

export class ServerProperties {
  readonly #settings: RedisSettings;
  readonly #events: SourceEvents;
  readonly #known = new Map<string, string>();

  constructor(settings: RedisSettings, events: SourceEvents) {
    this.#settings = settings;
    this.#events = events;
  }

  /** Warns of each that is another than at the last look. */
  async look(redis: Redis): Promise<void> {
    for (const [name, read] of Object.entries(PROPERTIES)) {
      const now = await read(redis);
      if (now === null) continue;
      const before = this.#known.get(name) ?? now;
      this.#known.set(name, now);
      if (now !== before) {
        this.#events.propertyChanged(addressOf(this.#settings), name, before, now);
      }
    }
  }
}

async function shownBy(redis: Redis, section: string, field: string): Promise<string | null> {
  const info = await redis.info(section).catch(() => '');
  return new RegExp(`^${field}:(\\S+)`, 'm').exec(info)?.[1] ?? null;
}
