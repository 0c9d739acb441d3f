/** Connects as the file says, to the Redis of the keys or to that of the state. */
import { stringify } from 'yaml';
import { loadSettings } from '../../src/config/load.js';
import { systemClock } from '../../src/lib/clock.js';
import type { RelayError } from '../../src/model/errors.js';
import type { Settings } from '../../src/model/vocabulary.js';
import { connect } from '../../src/redis/connect.js';
import { Locators, SILENT_LOCATORS } from '../../src/redis/locators.js';
import { RedisState } from '../../src/state/redis-state.js';
import { tempFolder } from './cli.js';
import { SILENT_STATE_EVENTS } from './redis-state.js';

export async function settingsOf(
  file: { readonly redis?: object; readonly state?: object },
  env: Record<string, string> = {},
): Promise<Settings> {
  const endpoints = { shop: { url: 'http://127.0.0.1:9', secrets: 'none' } };
  const routes = [{ name: 'all', match: '*', to: 'shop' }];
  await using folder = await tempFolder({
    'relay.yaml': stringify({ ...file, endpoints, routes }),
  });
  return (await loadSettings({ file: undefined, env, cwd: folder.path })).settings;
}

/** Connects to the Redis of the keys and disconnects; returns the error, or null. */
export async function failureAt(
  { redis }: Settings,
  onStale: (problem: string) => void = () => undefined,
): Promise<RelayError | null> {
  const closing = new AbortController();
  try {
    await connect(redis, 'test', closing.signal, 'redis', onStale);
    return null;
  } catch (error) {
    return error as RelayError;
  } finally {
    closing.abort();
  }
}

/** The error of a connection with this section `redis`, or a message that it succeeded. */
export async function whyNot(redis: object, env: Record<string, string> = {}): Promise<string> {
  return (await failureAt(await settingsOf({ redis }, env)))?.message ?? 'connected';
}

/** Opens the state of a file; its problems are kept. */
export function openStateOf({ state, redis, endpoints }: Settings): AsyncDisposable & {
  readonly state: RedisState;
  readonly troubles: string[];
  readonly stale: string[];
} {
  if (state.kind !== 'redis') throw new Error('expected a state in Redis');
  const troubles: string[] = [];
  const stale: string[] = [];
  const locators = new Locators(systemClock, SILENT_LOCATORS);
  const opened = new RedisState({
    ...state,
    locator: locators.of(state.redis, state.section),
    databases: redis.databases,
    endpoints: () => [...endpoints.keys()],
    clock: systemClock,
    events: {
      ...SILENT_STATE_EVENTS,
      unavailable: (_, { message }) => troubles.push(message),
      credentialsUnusable: (problem) => stale.push(problem),
    },
  });
  return {
    state: opened,
    troubles,
    stale,
    [Symbol.asyncDispose]: async () => {
      opened.close();
      locators.close();
    },
  };
}
