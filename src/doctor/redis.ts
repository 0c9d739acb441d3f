/** Looks at the Redis that holds the keys. */
import type { Redis } from 'ioredis';
import { counted } from '../counted.js';
import { messageOf, RedisUnreachableError, type RelayError } from '../errors.js';
import { redisUser } from '../redis-cli.js';
import { isNoDatabase, isRefusal, unlessRefused } from '../refusal.js';
import { type Finding, ok, problem } from '../server/finding.js';
import { isAtLeast, judgeNoDatabase, judgeServer } from '../server/judge.js';
import { NOTIFICATIONS } from '../server/properties.js';
import { countText, keysText } from '../server/wording.js';
import { channelOf } from '../source/channels.js';
import type { RedisSettings, Settings } from '../vocabulary.js';
import { judgeAnswer } from './judge-answer.js';
import { judgeNotifications } from './judge-notifications.js';
import { isAllowed, judgeCommands, judgeRights } from './judge-rights.js';
import { judgeLateness } from './lateness.js';
import { probeRights } from './probe-rights.js';
import { type Abilities, rightsInRedis } from './rights.js';
import { type Asking, readServer, type ServerReading, withServer } from './server.js';

export async function examineRedis(settings: Settings, asking: Asking): Promise<Finding[]> {
  const { redis: address } = settings;
  try {
    return await withServer(address, 'redis', asking, (redis) => examine(redis, settings, asking));
  } catch (error) {
    return [judgeFailure(error as RelayError, 'redis', 'redis.url')];
  }
}

/** Most of them say by themselves what to do. */
export function judgeFailure(error: RelayError, subject: string, setting: string): Finding {
  const advice =
    error instanceof RedisUnreachableError
      ? `check ${setting}, that the server runs, and that this machine can connect to it`
      : null;
  return problem(subject, messageOf(error), advice);
}

async function examine(redis: Redis, settings: Settings, { clock }: Asking): Promise<Finding[]> {
  const address = settings.redis;
  const reading = await readServer(redis, clock);
  const databases = await examineDatabases(redis, address, reading);
  const listeners = await countListeners(redis, address);
  const rights = rightsInRedis(settings, abilitiesOf(reading));
  const answers = await probeRights(redis, redisUser(address), rights.probes);
  const mayChange = isAllowed(rights, answers, 'CONFIG', 'SET');
  return [
    judgeAnswer(reading, address, 'redis'),
    ...judgeServer(reading, address, reading.clockAheadMs),
    judgeNotifications(reading.settings.get(NOTIFICATIONS) ?? null, mayChange, address),
    ...listeners,
    judgeRights(rights, answers, address, 'rights'),
    ...judgeCommands(rights, answers, 'commands'),
    ...databases,
  ];
}

function abilitiesOf({ version, info, settings }: ServerReading): Abilities {
  const policy = info?.get('maxmemory_policy') ?? settings.get('maxmemory-policy') ?? '';
  return {
    isSeven: isAtLeast(version, [7, 0]) !== false,
    hasNoTouch: isAtLeast(version, [7, 2]) === true,
    evictsByUse: /-l[rf]u$/.test(policy),
  };
}

async function examineDatabases(
  redis: Redis,
  address: RedisSettings,
  reading: ServerReading,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const database of address.databases) {
    findings.push(...(await examineDatabase(redis, address, database, reading)));
  }
  return findings;
}

async function examineDatabase(
  redis: Redis,
  address: RedisSettings,
  database: number,
  reading: ServerReading,
): Promise<Finding[]> {
  const subject = `database ${database}`;
  try {
    await redis.select(database);
  } catch (error) {
    if (isNoDatabase(error)) {
      return [judgeNoDatabase(database, address)];
    }
    // That it may not be selected is said among the rights.
    if (!isRefusal(error)) throw error;
  }
  const lateness = judgeLateness(reading, database, address.databases.length === 1);
  const keyspace = reading.info?.keyspace(database) ?? null;
  if (keyspace === null) return [lateness];
  const { keys, expires } = keyspace;
  const text = `${keysText(keys)}, ${countText(expires)} with a TTL`;
  return [ok(subject, text), lateness];
}

/** Who listens today: each of them gets every notification. */
async function countListeners(redis: Redis, { databases }: RedisSettings): Promise<Finding[]> {
  const channels = databases.map((database) => channelOf(database, 'expired'));
  const reply = (await unlessRefused(redis.call('PUBSUB', 'NUMSUB', ...channels))) as
    | unknown[]
    | null;
  if (reply === null) return [];
  return databases.flatMap((database, at) => {
    const count = Number(reply[2 * at + 1]);
    if (count === 0) return [];
    const who = `${counted(count, 'subscriber')} (running relays among them)`;
    return [ok('listeners', `${who}: each gets every \`expired\` of database ${database}`)];
  });
}
