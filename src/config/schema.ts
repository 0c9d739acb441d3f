/** The schema of the configuration: every key, its type, its default. */

import type { z } from 'zod';
import { METHODS, TEMPLATE_CONTENT_TYPES, type TemplateContentType } from '../model/body-format.js';
import { LOG_FORMATS, LOG_LEVELS } from '../model/log-settings.js';
import { NAME_PATTERN } from '../model/names.js';
import type { Pattern } from '../model/pattern.js';
import { CLUSTER_NODES_MAX, SENTINELS_MAX } from '../model/redis-login.js';
import { compilePattern, PatternError } from '../routing/pattern.js';
import {
  CLUSTER_ADDRESS_PATTERN,
  CLUSTER_NODE_EXPECTED,
  DATABASE_MAX,
  readClusterNode,
  readListenAddress,
  readRedisUrl,
  readSentinelNode,
  SENTINEL_NODE_EXPECTED,
} from './addresses.js';
import { bodyTemplate } from './bodies.js';
import { endpoint } from './endpoint-schema.js';
import {
  choice,
  duration,
  filePath,
  flag,
  list,
  mapping,
  oneOrMany,
  recordOf,
  size,
  text,
  textLike,
  whole,
} from './scalars.js';
import {
  NAME_EXPECTED,
  readBasicUser,
  readLookup,
  readRoutePath,
  SENTINEL_MASTER_PATTERN,
  SERVER_NAME_PATTERN,
  STATE_PREFIX_PATTERN,
} from './strings.js';
import { accept, type Reading, reject } from './wording.js';

/** Every expiration is matched against every route. */
export const ROUTES_MAX = 1000;
/** Each endpoint has its own connections, outbox and metrics. */
export const ENDPOINTS_MAX = 1000;
/** The reason of ROUTES_MAX applies. */
export const PATTERNS_PER_ROUTE_MAX = 100;
/** Redis's default is 16; each database is a subscription. */
export const DATABASES_MAX = 1024;

/** A relay has a few names. */
const ALLOWED_HOSTS_RANGE = { min: 0, max: 100 };

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Orchestrators kill a process long before an hour. */
const GRACE_RANGE = { min: 0, max: HOUR_MS };
/** Larger values belong in the receiver's own store. */
const VALUE_BYTES_RANGE = { min: 1, max: 1024 * 1024 };
/** Below a minute, nobody could inspect a dead letter; ten years mean forever. */
const DEAD_LETTER_AGE_RANGE = { min: MINUTE_MS, max: 3650 * DAY_MS };
/** Attempts take seconds; a receiver that is down for a month will not return. */
const MAX_AGE_RANGE = { min: SECOND_MS, max: 365 * DAY_MS };
/** Per endpoint. Each dead letter keeps its body in Redis's memory. */
const DEAD_LETTERS_RANGE = { min: 1, max: 1_000_000 };
/** An endpoint that is absent for a month will not return. */
const UNKNOWN_ENDPOINT_GRACE_RANGE = { min: 0, max: 30 * DAY_MS };

export const DEFAULT_STATE_PREFIX = 'expiry-relay';

export const DEFAULT_ADMIN_LISTEN = '127.0.0.1:9464';

const ENDPOINT_NAME_EXPECTED = 'the name of an endpoint';

const STATE_PREFIX_EXPECTED =
  'a prefix of 1–64 letters, digits, ., _ or -, without braces or colons';

const name = textLike(NAME_EXPECTED, NAME_PATTERN);
const anyText = (expected: string) => text(expected, (found) => accept(found));

function readPattern(source: string): Reading<Pattern> {
  try {
    return accept(compilePattern(source));
  } catch (thrown) {
    if (!(thrown instanceof PatternError)) throw thrown;
    const quoting = `at character ${thrown.offset + 1}: ${thrown.message}`;
    return reject('a glob pattern such as order:{id}:unpaid', { quoting });
  }
}

/** The content type that a short word, or a type with parameters, was probably meant as. */
function guessContentType(found: string): TemplateContentType | null {
  if (/form/i.test(found)) return 'application/x-www-form-urlencoded';
  return /json/i.test(found) ? 'application/json' : null;
}

/** Keys for the login to a Redis; `orElse` describes the default. */
const login = ({ orElse }: { orElse: string }) => ({
  username: anyText('a user name').optional().describe(`The user to log in as${orElse}`),
  password: anyText('a password').optional().describe(`The password to log in with${orElse}`),
  password_file: filePath
    .optional()
    .describe('A file with the password, instead of password; read before each connection'),
});

/** The `tls` section of `redis` and `state`. */
const redisTls = mapping({
  ca_file: filePath
    .optional()
    .describe("PEM certificates of the authorities to trust, instead of Node's own"),
  cert_file: filePath
    .optional()
    .describe('The client certificate in PEM, with its intermediate certificates'),
  key_file: filePath.optional().describe('The private key of cert_file, in PEM'),
  server_name: textLike('the name of a host', SERVER_NAME_PATTERN)
    .optional()
    .describe(
      "The host name that the server's certificate must have; by default the host of the URL",
    ),
});

/** The `sentinel` section of `redis` and `state`. */
const sentinel = mapping({
  master: textLike('the name of a primary such as mymaster', SENTINEL_MASTER_PATTERN).describe(
    'The name of the primary in the configuration of the sentinels (sentinel monitor NAME …)',
  ),
  nodes: list(text(SENTINEL_NODE_EXPECTED, readSentinelNode), {
    min: 1,
    max: SENTINELS_MAX,
  }).describe(
    'The sentinels, as host:port, or some of them: they report the others. The default port is 26379',
  ),
  ...login({ orElse: ' to the sentinels' }),
  tls: redisTls
    .optional()
    .describe(
      'Certificates for sentinels with TLS; read before each connection. Turns on TLS, even if empty ({})',
    ),
});

/** The `cluster` section of `redis` and `state`. */
const cluster = mapping({
  nodes: list(text(CLUSTER_NODE_EXPECTED, readClusterNode), {
    min: 1,
    max: CLUSTER_NODES_MAX,
  }).describe(
    'Some nodes of the cluster, as host:port; they report the others. The default port is 6379',
  ),
  address_map: recordOf(
    'a mapping from the addresses that the nodes report to those to connect to',
    textLike('an address such as 10.0.0.1:6379', CLUSTER_ADDRESS_PATTERN),
    text(CLUSTER_NODE_EXPECTED, readClusterNode),
  )
    .optional()
    .describe('By the address that the nodes report for a node: the address to connect to instead'),
});

const redis = mapping({
  url: text('a Redis URL such as redis://127.0.0.1:6379', readRedisUrl)
    .prefault('redis://127.0.0.1:6379')
    .describe(
      'The Redis whose keys expire, a primary: redis://, rediss:// (TLS) or unix:///run/redis.sock. ' +
        'May name a database: /2, or ?db=2 after the path of a socket',
    ),
  sentinel: sentinel
    .optional()
    .describe('Instead of url: the sentinels that name the primary, which the relay follows'),
  cluster: cluster
    .optional()
    .describe('Instead of url: a Redis Cluster, all of whose primaries the relay follows'),
  ...login({ orElse: '' }),
  tls: redisTls
    .optional()
    .describe(
      'Certificates for a rediss:// server; read before each connection. With sentinel or cluster, turns on TLS, even if empty ({})',
    ),
  databases: list(whole({ min: 0, max: DATABASE_MAX }), { min: 1, max: DATABASES_MAX })
    .optional()
    .describe(
      'The logical databases to watch, each once; by default the database of the URL, or [0]',
    ),
  notifications: choice(['manage', 'require'])
    .prefault('manage')
    .describe(
      'manage: add the missing classes to notify-keyspace-events, again after each restart. ' +
        'require: never change the server; refuse to start without them',
    ),
});

const deadLetters = mapping({
  keep: duration(DEAD_LETTER_AGE_RANGE).prefault('30d').describe('The retention of dead letters'),
  max: whole(DEAD_LETTERS_RANGE)
    .prefault(10_000)
    .describe('The maximum number for each endpoint; the oldest are deleted first'),
});

const state = mapping({
  kind: choice(['redis', 'memory'])
    .prefault('redis')
    .describe(
      'Where the state is stored. redis: it survives a restart, and replicas share it. memory: it ' +
        'is lost when the process ends',
    ),
  url: text('a Redis URL', readRedisUrl)
    .optional()
    .describe('The Redis that stores the state; by default the one of redis, with its login'),
  sentinel: sentinel
    .optional()
    .describe('As redis.sentinel, instead of state.url, for the Redis that stores the state'),
  cluster: cluster
    .optional()
    .describe('As redis.cluster, instead of state.url: the state is on the primary of its slot'),
  ...login({
    orElse: '. By default, without state.url, state.sentinel and state.cluster, as for redis',
  }),
  tls: redisTls
    .optional()
    .describe(
      'As redis.tls, for state.url, state.sentinel or state.cluster; without these, redis.tls applies',
    ),
  prefix: textLike(STATE_PREFIX_EXPECTED, STATE_PREFIX_PATTERN)
    .prefault(DEFAULT_STATE_PREFIX)
    .describe('The key prefix of the state, in braces; unique for each configuration'),
  dead_letters: deadLetters.prefault({}).describe('The retention of dead letters'),
  unknown_endpoint_grace: duration(UNKNOWN_ENDPOINT_GRACE_RANGE)
    .prefault('1h')
    .describe(
      "How long deliveries wait for an endpoint that no running replica's configuration has, " +
        'before they are dead-lettered',
    ),
});

const route = mapping({
  name: name.describe('The unique name, in payloads, logs and metrics'),
  match: oneOrMany(
    'a glob pattern',
    text('a glob pattern', readPattern),
    PATTERNS_PER_ROUTE_MAX,
  ).describe(
    'One or more glob patterns, as in Redis, with {name} to capture everything up to the next colon',
  ),
  to: oneOrMany(
    ENDPOINT_NAME_EXPECTED,
    textLike(ENDPOINT_NAME_EXPECTED, NAME_PATTERN),
    ENDPOINTS_MAX,
  ).describe('One or more endpoints that receive the webhook'),
  type: textLike('a type of 1–255 letters, digits, dots and _', /^[a-zA-Z0-9_.]{1,255}$/)
    .prefault('redis.key.expired')
    .describe('The type in the payload'),
  path: text('a path such as /orders/{id}/cancel', readRoutePath)
    .optional()
    .describe("Appended to the endpoint's URL; each {name} is replaced, percent-encoded"),
  method: choice(METHODS).prefault('POST').describe('The HTTP method'),
  format: choice(['standard', 'cloudevents'])
    .prefault('standard')
    .describe('The format of the body. cloudevents: CloudEvents 1.0 in structured mode'),
  body: bodyTemplate
    .optional()
    .describe(
      'Instead of format: a structure whose strings may contain {key}, {expired_at} and other placeholders; the word none sends no body',
    ),
  content_type: choice(TEMPLATE_CONTENT_TYPES, guessContentType)
    .prefault('application/json')
    .describe('The content type of body; a form requires a flat mapping'),
  include: list(choice(['value']), { min: 1, max: 1 }, '[value]')
    .optional()
    .describe('[value]: the value of the key just before it expired'),
  lookup: text('a key such as order:{id}', readLookup)
    .optional()
    .describe(
      'Another key whose value is sent, read when the webhook is created; may contain {name}s',
    ),
  value_max: size(VALUE_BYTES_RANGE)
    .prefault('16KiB')
    .describe('The maximum size of a value; larger values are omitted'),
  max_age: duration(MAX_AGE_RANGE)
    .optional()
    .describe(
      'The maximum age of a webhook, from the expiration to an attempt; older ones are dead-lettered. By default there is none',
    ),
  on_ambiguous: choice(['deliver', 'skip'])
    .prefault('deliver')
    .describe('Whether expirations that were only inferred (detected_by: recovery) are delivered'),
});

const page = mapping({
  enabled: flag().prefault(true).describe('Whether there is an API'),
  read_only: flag().prefault(false).describe('Whether requests that change something are refused'),
  username: text('a user name', readBasicUser)
    .optional()
    .describe('The user name for HTTP basic authentication, without a colon'),
  password_file: filePath
    .optional()
    .describe('A file with the password for HTTP basic authentication; reloaded when it changes'),
  allowed_hosts: list(
    textLike('a host name such as relay.internal', SERVER_NAME_PATTERN),
    ALLOWED_HOSTS_RANGE,
  )
    .prefault([])
    .describe(
      'Host names by which clients may address the API, in addition to localhost and its addresses',
    ),
});

export const relayFile = mapping(
  {
    redis: redis.prefault({}).describe('The Redis whose keys expire'),
    state: state.prefault({}).describe('State storage: deadlines, pending webhooks, dead letters'),
    endpoints: recordOf('a mapping from name to endpoint', name, endpoint).describe(
      'The endpoints that receive webhooks, by name',
    ),
    routes: list(route, { min: 1, max: ROUTES_MAX }).describe(
      'Which keys send webhooks; every route that matches a key sends one',
    ),
    admin: mapping({
      listen: text('an address such as 127.0.0.1:9464', readListenAddress)
        .prefault(DEFAULT_ADMIN_LISTEN)
        .describe('The address of health checks and metrics; :9464 listens on all IPv4 addresses'),
      page: page.prefault({}).describe('The API of the admin port'),
    })
      .prefault({})
      .describe('The admin port'),
    log: mapping({
      level: choice(LOG_LEVELS).prefault('info').describe('The minimum level of log lines'),
      format: choice(LOG_FORMATS)
        .prefault('auto')
        .describe('auto: pretty on a terminal, otherwise json'),
    })
      .prefault({})
      .describe('The log'),
    shutdown: mapping({
      grace: duration(GRACE_RANGE)
        .prefault('25s')
        .describe('How long a stop waits for attempts in progress'),
    })
      .prefault({})
      .describe('The stop of the relay'),
  },
  'a mapping with endpoints and routes',
);

/** The configuration with defaults filled in and every string parsed. */
export type RelayFile = z.output<typeof relayFile>;

export const routeFields = route.shape;
export const redisFields = redis.shape;
export const stateFields = state.shape;
export const sentinelFields = sentinel.shape;
export const shutdownField = relayFile.shape.shutdown;
