/** Checks the Redis server that holds the keys. */
import type { Redis } from 'ioredis';
import { pluralize } from '../lib/pluralize.js';
import {
  messageOf,
  RedisPermissionError,
  RedisUnreachableError,
  RedisUnresponsiveError,
  type RelayError,
} from '../model/errors.js';
import type { RedisAddress, RedisSettings, Settings } from '../model/vocabulary.js';
import { redisUser } from '../redis/advice.js';
import { addressOf } from '../redis/client.js';
import type { RedisConnection } from '../redis/connect.js';
import { fixedLocator } from '../redis/locator.js';
import {
  isNoDatabase,
  isRefusal,
  isReply,
  isUnknownCommand,
  unlessRefused,
} from '../redis/refusal.js';
import { settingNames } from '../redis/setting-names.js';
import { SLOTS } from '../redis/slots.js';
import { type Finding, note, ok, problem } from '../server/finding.js';
import { isAtLeast, judgeNoDatabase, judgeServer } from '../server/judge.js';
import { NOTIFICATIONS } from '../server/properties.js';
import { countText, keysText } from '../server/wording.js';
import { channelOf } from '../source/channels.js';
import { settingOf } from '../source/notifications.js';
import { type Topology, topologyOf } from '../source/topology.js';
import { ownKeyPrefix } from '../state/format.js';
import { judgeAnswer, judgePassword } from './judge-answer.js';
import { judgeNotifications, judgeReplicaNotifications } from './judge-notifications.js';
import { isAllowed, judgeCommands, judgeRights } from './judge-rights.js';
import { judgeLateness } from './lateness.js';
import { type FindingsAt, mergeFindings } from './merge.js';
import { probeRights } from './probe-rights.js';
import { type Abilities, rightsInRedis } from './rights.js';
import { examineSentinels } from './sentinels.js';
import { type QueryContext, readServer, type ServerReading, withServer } from './server.js';
import { judgeThroughput } from './throughput.js';

export async function examineRedis(settings: Settings, asking: QueryContext): Promise<Finding[]> {
  const { redis } = settings;
  const sentinels = await examineSentinels(redis, 'redis', asking);
  const topology = topologyOf(redis, asking.locators);
  try {
    await topology.locate();
  } catch (error) {
    return [judgeFailure(error as RelayError, 'redis', settingNames(redis, 'redis').server)];
  }
  const { primaries, replicas } = topology;
  const servers = primaries.map(async ({ locator }): Promise<FindingsAt> => {
    const findings = await withServer(locator, 'redis', asking, (connection, address) =>
      examine(connection, { ...settings, redis: address }, asking),
    ).catch((error) => judgeUnlocated(error as RelayError, 'redis', redis, sentinels));
    return { address: addressOf(locator.address), findings };
  });
  const ofReplicas = replicas.map((replica) => examineReplica(replica, asking));
  return [
    ...sentinels,
    ...judgeCoverage(redis, topology),
    ...mergeFindings(await Promise.all(servers)),
    ...(await Promise.all(ofReplicas)).flat(),
  ];
}

/** Of a cluster. */
function judgeCoverage({ cluster }: RedisSettings, topology: Topology): Finding[] {
  const { primaries, replicas, uncoveredSlots } = topology;
  if (cluster === null) return [];
  const nodes = `${pluralize(primaries.length, 'primary', 'primaries')}, ${pluralize(replicas.length, 'replica')}`;
  if (uncoveredSlots === 0) return [ok('cluster', `${nodes}; all ${SLOTS} slots are served`)];
  const text = `${nodes}; no primary has ${uncoveredSlots} of the ${SLOTS} slots: their keys are not watched`;
  return [problem('cluster', text, 'run redis-cli --cluster check')];
}

/** Whether a replica would publish expirations as a primary. Empty if it would. */
async function examineReplica(replica: RedisSettings, asking: QueryContext): Promise<Finding[]> {
  try {
    const setting = await withServer(fixedLocator(replica), 'redis', asking, ({ redis }) =>
      settingOf(redis),
    );
    return judgeReplicaNotifications(setting, replica);
  } catch (error) {
    return [note('replicas', `replica ${addressOf(replica)} was not checked: ${messageOf(error)}`)];
  }
}

/** The finding of the sentinels already reports that they name no primary. */
export function judgeUnlocated(
  error: RelayError,
  subject: 'redis' | 'state',
  address: RedisAddress,
  sentinels: readonly Finding[],
): Finding[] {
  if (sentinels.some(({ level, text }) => level === 'problem' && text === error.message)) {
    return [note(subject, 'not checked: the sentinels name no primary')];
  }
  return [judgeFailure(error, subject, settingNames(address, subject).server)];
}

/** Most connection errors already contain advice. */
export function judgeFailure(error: RelayError, subject: string, setting: string): Finding {
  return problem(subject, messageOf(error), failureAdvice(error, setting));
}

function failureAdvice(error: RelayError, setting: string): string | null {
  if (error instanceof RedisUnresponsiveError) {
    return `check ${setting}, and the log of the server there`;
  }
  if (error instanceof RedisUnreachableError) {
    return `check ${setting}, that the server runs, and that this machine can connect to it`;
  }
  if (error instanceof RedisPermissionError) {
    return 'grant the permission with ACL SETUSER, then run doctor again';
  }
  return null;
}

async function examine(
  { redis, isPasswordUnused }: RedisConnection,
  settings: Settings,
  { clock }: QueryContext,
): Promise<Finding[]> {
  const { redis: address, state } = settings;
  const isStateHere = state.kind === 'redis' && state.section === 'redis';
  const reading = await readServer(redis, clock);
  const [databases, listeners, hasPexpiretime] = await Promise.all([
    examineDatabases(redis, address, reading),
    countListeners(redis, address),
    probePexpiretime(redis, ownKeyPrefix(state.prefix)),
  ]);
  const rights = rightsInRedis(settings, { ...abilitiesOf(reading), hasPexpiretime });
  const answers = await probeRights(redis, redisUser(address), rights.probes);
  const mayChange = isAllowed(rights, answers, 'CONFIG', 'SET');
  return [
    judgeAnswer(reading, address, 'redis'),
    ...judgePassword(isPasswordUnused, 'redis'),
    // If this server also holds the state, the state's lower limit is reported instead.
    ...(isStateHere ? [] : [judgeThroughput(reading.roundTripMs)]),
    ...judgeServer(reading, address, reading.clockAheadMs),
    judgeNotifications(reading.settings.get(NOTIFICATIONS) ?? null, mayChange, address),
    ...listeners,
    judgeRights(rights, answers, address, 'permissions'),
    ...judgeCommands(rights, answers, 'commands'),
    ...databases,
  ];
}

/** Tries the command itself, as the relay does. */
async function probePexpiretime(redis: Redis, key: string): Promise<boolean> {
  try {
    await redis.pexpiretime(key);
    return true;
  } catch (error) {
    if (!isReply(error)) throw error;
    return !isUnknownCommand(error);
  }
}

function abilitiesOf({
  version,
  info,
  settings,
}: ServerReading): Omit<Abilities, 'hasPexpiretime'> {
  const policy = info?.get('maxmemory_policy') ?? settings.get('maxmemory-policy') ?? '';
  return {
    hasReadRules: isAtLeast(version, [7, 0]) !== false,
    hasNoTouch: isAtLeast(version, [7, 2]) === true,
    evictsByUse: /-l[rf]u$/.test(policy),
  };
}

async function examineDatabases(
  redis: Redis,
  address: RedisSettings,
  reading: ServerReading,
): Promise<Finding[]> {
  const findings = await Promise.all(
    address.databases.map((database) => examineDatabase(redis, address, database, reading)),
  );
  return findings.flat();
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
    // Missing permission to select the database is reported with the permissions.
    if (!isRefusal(error)) throw error;
  }
  const lateness = judgeLateness(reading, database, address.databases.length === 1);
  const keyspace = reading.info?.keyspace(database) ?? null;
  if (keyspace === null) return [lateness];
  const { keys, expires } = keyspace;
  const text = `${keysText(keys)}, ${countText(expires)} with a TTL`;
  return [ok(subject, text), lateness];
}

/** Subscribers on this server: each of them receives every notification. */
async function countListeners(redis: Redis, { databases }: RedisSettings): Promise<Finding[]> {
  const channels = databases.map((database) => channelOf(database, 'expired'));
  const reply = (await unlessRefused(redis.call('PUBSUB', 'NUMSUB', ...channels))) as
    | unknown[]
    | null;
  if (reply === null) return [];
  return databases.flatMap((database, at) => {
    const count = Number(reply[2 * at + 1]);
    if (count === 0) return [];
    const who = `${pluralize(count, 'subscriber')} (including running relays)`;
    return [
      ok('listeners', `${who}: each receives every \`expired\` event of database ${database}`),
    ];
  });
}
