/** Checks the Redis server that holds the state. Read-only: does not claim the prefix. */
import type { Redis } from 'ioredis';
import type { Clock } from '../lib/clock.js';
import { pluralize } from '../lib/pluralize.js';
import { printable } from '../lib/printable.js';
import { configurationOf } from '../model/configuration.js';
import { RelayError } from '../model/errors.js';
import type { RedisAddress, Settings, StateSettings } from '../model/vocabulary.js';
import { redisUser } from '../redis/advice.js';
import { addressOf, stateError } from '../redis/client.js';
import type { RedisConnection } from '../redis/connect.js';
import { hasOwnSentinels } from '../redis/locators.js';
import { isOtherType, isRefusal, isReply } from '../redis/refusal.js';
import { PROBE_OF } from '../redis/scripts.js';
import { type Finding, note, ok, problem, warning } from '../server/finding.js';
import { judgeStateServer } from '../server/judge.js';
import { keysText } from '../server/wording.js';
import {
  configurationsKey,
  endpointKeys,
  endpointsKey,
  ownKeyPrefix,
  quarantineKey,
  readConfigurationRow,
  typedKeys,
} from '../state/format.js';
import { readGone } from '../state/gone.js';
import { readRelays } from '../state/relays.js';
import { NAME } from '../state/stored.js';
import { readFormat, refuseFormat, refuseStateReplica, verifyDatabase } from '../state/verify.js';
import { judgeAnswer, judgePassword } from './judge-answer.js';
import { judgeConfigurations, type RunningReplica } from './judge-configurations.js';
import { judgeGone } from './judge-gone.js';
import { judgeCommands, judgeRights } from './judge-rights.js';
import { probeRights } from './probe-rights.js';
import { judgeUnlocated } from './redis.js';
import { rightsInState } from './rights.js';
import { examineSentinels } from './sentinels.js';
import { type QueryContext, readServer, type ServerReading, withServer } from './server.js';
import { judgeStateThroughput } from './throughput.js';

const SUBJECT = 'state';

/** Length of a replica's name that distinguishes it from others. */
const NAME_CHARS = 8;

/** Every running replica checks the lease, and increments a counter, twice within this time. */
export const LOOKS_MS = 1_200;

type RedisStateSettings = Extract<StateSettings, { kind: 'redis' }>;

export async function examineState(settings: Settings, asking: QueryContext): Promise<Finding[]> {
  const { state } = settings;
  if (state.kind === 'memory') {
    const text = 'in memory (state.kind: memory): pending webhooks are lost when the process ends';
    return [note(SUBJECT, text)];
  }
  const { redis, section } = state;
  // Sentinels that keys and state share are reported with the Redis of the keys.
  const isOwn = hasOwnSentinels(redis, settings.redis);
  const sentinels = isOwn ? await examineSentinels(redis, section, asking) : [];
  try {
    const ask = (connection: RedisConnection, address: RedisAddress) =>
      examine(connection, { ...state, redis: address }, settings, asking);
    const place = asking.locators.ofKey(redis, section, ownKeyPrefix(state.prefix));
    const findings = await withServer(place, section, asking, ask);
    return [...sentinels, ...findings];
  } catch (error) {
    // The connection error was already reported for the Redis of the keys.
    if (section === 'redis') return [note(SUBJECT, 'not checked: the state is in the same Redis')];
    return [...sentinels, ...judgeUnlocated(error as RelayError, SUBJECT, redis, sentinels)];
  }
}

async function examine(
  { redis, isPasswordUnused }: RedisConnection,
  state: RedisStateSettings,
  settings: Settings,
  { clock }: QueryContext,
): Promise<Finding[]> {
  const { redis: address, database, section, prefix } = state;
  const reading = await readServer(redis, clock);
  const where = `${ownKeyPrefix(prefix)}… in database ${database} of ${addressOf(address)}`;
  const findings: Finding[] = [];
  if (section === 'redis') findings.push(ok(SUBJECT, where));
  else {
    findings.push(
      ok(SUBJECT, where),
      judgeAnswer(reading, address, 'state Redis'),
      ...judgePassword(isPasswordUnused, 'state Redis'),
    );
  }
  findings.push(
    judgeStateThroughput(
      reading.roundTripMs,
      [...settings.endpoints.values()],
      section === 'redis' ? 'throughput' : 'state throughput',
    ),
    ...judgeStateServer(reading, section),
  );
  findings.push(...(await examineUse(redis, reading, state, settings, clock)));
  // The permission probes come last: afterwards the connection can only subscribe.
  if (section === 'redis') return findings;
  const rights = rightsInState(prefix);
  const answers = await probeRights(redis, redisUser(address), rights.probes);
  return [
    ...findings,
    judgeRights(rights, answers, address, 'state permissions'),
    ...judgeCommands(rights, answers, 'state commands'),
  ];
}

/** Whether the state is usable, and which relays use it. */
async function examineUse(
  redis: Redis,
  reading: ServerReading,
  { redis: address, database, section, prefix }: RedisStateSettings,
  settings: Settings,
  clock: Clock,
): Promise<Finding[]> {
  try {
    await verifyDatabase(redis, address, database, section);
    if (section === 'state') refuseStateReplica(reading, address, section);
    const format = await readFormat(redis, prefix);
    if (format === null) return [note('relays', 'no relay has run with this state')];
    refuseFormat(prefix, format);
    const findings = await Promise.all([
      judgeTypes(redis, prefix, settings),
      ...[
        examineRelays(redis, prefix, settings.redis.databases),
        judgeDeadLetters(redis, prefix, settings),
        judgeQuarantine(redis, prefix),
        examineConfigurations(redis, prefix, settings, reading.roundTripMs, clock),
      ].map(emptyOnWrongType),
    ]);
    return findings.flat();
  } catch (error) {
    if (error instanceof RelayError) return [problem(SUBJECT, error.message, null)];
    // Missing permissions are reported with the permissions.
    if (!isReply(error)) throw error;
    if (isRefusal(error)) return [];
    return [problem(SUBJECT, stateError(error, address, section).message, null)];
  }
}

/** Reports keys of the state whose type is not the relay's. */
async function judgeTypes(redis: Redis, prefix: string, settings: Settings): Promise<Finding[]> {
  const { databases } = settings.redis;
  const typed = typedKeys(prefix, databases, [...settings.endpoints.keys()]);
  const all = [...typed, [quarantineKey(prefix), 'stream'] as const];
  const replies = await redis.pipeline(all.map(([key, type]) => [PROBE_OF[type], key])).exec();
  const others = all.flatMap(([key], at) => (isOtherType(replies?.[at]?.[0]) ? [key] : []));
  if (others.length === 0) return [];
  const text = `keys with an unexpected type: ${others.join(', ')}`;
  const advice =
    'find the client that writes to these keys; the relay moves them to its quarantine';
  return [warning(SUBJECT, text, advice)];
}

/** Empty for a key of the wrong type, which has its own finding. */
async function emptyOnWrongType(findings: Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await findings;
  } catch (error) {
    if (isOtherType(error)) return [];
    throw error;
  }
}

/** Whether the running replicas share one configuration, and whether it is the one being checked. */
async function examineConfigurations(
  redis: Redis,
  prefix: string,
  settings: Settings,
  roundTripMs: number,
  clock: Clock,
): Promise<Finding[]> {
  const { digest } = configurationOf(settings);
  const key = configurationsKey(prefix);
  const before = await redis.hgetall(key);
  if (Object.keys(before).length === 0) return [];
  // Replicas may be equally distant: each of their checks takes a round trip.
  await clock.sleep(LOOKS_MS + 2 * roundTripMs);
  const running: RunningReplica[] = [];
  for (const [name, text] of Object.entries(await redis.hgetall(key))) {
    const row = readConfigurationRow(text);
    // A row that does not change belongs to a replica that was killed.
    if (row !== null && text !== before[name]) running.push(row);
  }
  return running.length === 0 ? [] : [judgeConfigurations(running, digest, prefix)];
}

/** Counts dead letters: after the cause is fixed, no other finding mentions them. */
async function judgeDeadLetters(
  redis: Redis,
  prefix: string,
  { endpoints }: Settings,
): Promise<Finding[]> {
  const stored = await redis.zrange(endpointsKey(prefix), '0', '-1');
  const names = new Set([...endpoints.keys(), ...stored.filter((name) => NAME.test(name))]);
  const counts = await Promise.all(
    [...names].map(
      async (name) => [name, await redis.hlen(endpointKeys(prefix, name).dead)] as const,
    ),
  );
  const some = counts.filter(([, count]) => count > 0);
  if (some.length === 0) return [];
  const total = some.reduce((sum, [, count]) => sum + count, 0);
  const text = `${total}: ${some.map(([name, count]) => `${name} ${count}`).join(', ')}`;
  return [note('dead letters', `${text}. To list them, run expiry-relay dead list`)];
}

/** Reports a non-empty quarantine. */
async function judgeQuarantine(redis: Redis, prefix: string): Promise<Finding[]> {
  const count = await redis.xlen(quarantineKey(prefix));
  if (count === 0) return [];
  const text = `${pluralize(count, 'record')} of entries that no relay has written`;
  const advice =
    'keep other clients from the keys of the state: use a separate Redis, or deny them by ACL. To list the entries, run:';
  return [warning('quarantine', text, advice, 'expiry-relay quarantine list')];
}

/** The running replicas, the lease holder, and the endpoints disabled by a 410. */
async function examineRelays(
  redis: Redis,
  prefix: string,
  watched: readonly number[],
): Promise<Finding[]> {
  const subject = 'relays';
  const { running, holder, tracked, nowMs } = await readRelays(redis, prefix, watched);
  const gone = await readGone(redis, prefix, nowMs);
  const index = `${keysText(tracked)} tracked`;
  if (running === 0) return [note(subject, `no relay is running; ${index}`)];
  const who =
    holder === null ? 'no lease holder' : `${printable(holder, NAME_CHARS)} holds the lease`;
  const relays = ok(subject, `${pluralize(running, 'replica')} running, ${who}; ${index}`);
  return [relays, ...judgeGone(gone)];
}
