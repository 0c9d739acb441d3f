/**
 * The permissions that the relay's Redis users need, as rules of `ACL SETUSER` with the commands that need each
 * rule. A test compares the rules with the documentation. Pure.
 */
import { decodeUtf8 } from '../lib/printable.js';
import type { Route, Settings } from '../model/vocabulary.js';
import { type Element, parsePattern } from '../routing/glob.js';
import { NOTIFICATIONS } from '../server/properties.js';
import { channelOf, channelsOf } from '../source/channels.js';
import { WANTED_FLAGS } from '../source/notifications.js';
import { marksChannel, ownKeyPrefix } from '../state/format.js';

/** The cost of a missing rule. `problem`: webhooks are not sent, or late. */
export type Cost = 'warning' | 'problem';

export interface Right {
  /** As `ACL SETUSER` accepts it. */
  readonly rule: string;
  readonly cost: Cost;
}

/** One command that the relay uses, and the rules that allow it. */
export interface Probe {
  readonly words: readonly string[];
  /** The rule that allows the command; null when the probe only tests its key. */
  readonly command: string | null;
  /** The rule that allows the command's key or channel; null when there is none. */
  readonly object: string | null;
  /** The command has no side effects. */
  readonly isHarmless: boolean;
}

export interface Rights {
  readonly rights: readonly Right[];
  readonly probes: readonly Probe[];
}

/** The server's features, by its version or its replies. */
export interface Abilities {
  /** Whether `%R~` rules exist (Redis 7.0). */
  readonly hasReadRules: boolean;
  /** Whether PEXPIRETIME exists. Without it, the relay reads deadlines with PTTL. */
  readonly hasPexpiretime: boolean;
  /** Redis 7.2. */
  readonly hasNoTouch: boolean;
  /** Eviction depends on when keys were last used, so reads must not update that time. */
  readonly evictsByUse: boolean;
}

/** A placeholder for one of the relay's own keys that never exists. */
const KEY = 'KEY';
const NO_KEY = 'doctor';

/** The commands that need each rule. */
type Needs = readonly (readonly [rule: string, cost: Cost, commands: readonly string[]])[];

const ALWAYS: Needs = [
  ['+ping', 'problem', ['PING']],
  ['+select', 'problem', ['SELECT 0']],
  ['+client|setname', 'warning', ['CLIENT SETNAME expiry-relay:doctor']],
];

/** For the canary and the marker: without them, notifications arrive but are not verified. */
const PROOF: Needs = [
  ['+set', 'warning', [`SET ${KEY} v`]],
  ['+get', 'warning', [`GET ${KEY}`]],
  ['+exists', 'warning', [`EXISTS ${KEY}`]],
  ['+role', 'warning', ['ROLE']],
  ['+time', 'warning', ['TIME']],
];

/** Of every primary of a cluster. */
const CLUSTER: Needs = [
  ['+cluster|info', 'problem', ['CLUSTER INFO']],
  ['+cluster|nodes', 'problem', ['CLUSTER NODES']],
  // For keys whose slot is migrating.
  ['+asking', 'warning', ['ASKING']],
];

const CONFIG: Needs = [
  [
    '+config',
    'warning',
    [`CONFIG GET ${NOTIFICATIONS}`, `CONFIG SET ${NOTIFICATIONS} ${WANTED_FLAGS}`],
  ],
];

/** For `include` and `lookup`, each with a key to read. */
const READ_VALUES = {
  '+type': ['TYPE', KEY],
  '+memory|usage': ['MEMORY', 'USAGE', KEY],
  '+getrange': ['GETRANGE', KEY, '0', '1'],
  '+hrandfield': ['HRANDFIELD', KEY, '1', 'WITHVALUES'],
  '+lrange': ['LRANGE', KEY, '0', '1'],
  '+srandmember': ['SRANDMEMBER', KEY, '1'],
  '+zrange': ['ZRANGE', KEY, '0', '1', 'WITHSCORES'],
  '+xrange': ['XRANGE', KEY, '-', '+', 'COUNT', '1'],
} as const;

const NO_TOUCH: Needs = [['+client|no-touch', 'warning', ['CLIENT NO-TOUCH ON']]];

const STATE: Needs = [
  ['+set', 'problem', [`SET ${KEY} v`]],
  ['+get', 'problem', [`GET ${KEY}`]],
  ['+exists', 'problem', [`EXISTS ${KEY}`]],
  ['+role', 'warning', ['ROLE']],
  ['+time', 'problem', ['TIME']],
  ['+setnx', 'problem', [`SETNX ${KEY} v`]],
  ['+pttl', 'problem', [`PTTL ${KEY}`]],
  ['+eval', 'problem', [`EVAL return(1) 1 ${KEY}`]],
  ['+evalsha', 'problem', [`EVALSHA 0 1 ${KEY}`]],
  ['+info', 'warning', ['INFO memory']],
  ['+del', 'problem', [`DEL ${KEY}`]],
  ['+unlink', 'problem', [`UNLINK ${KEY}`]],
  // For a relay key that another client replaced with another type.
  ['+rename', 'warning', [`RENAME ${KEY} ${KEY}`]],
  [
    '+@hash',
    'problem',
    [
      ...[`HDEL ${KEY} f`, `HEXISTS ${KEY} f`, `HGET ${KEY} f`, `HGETALL ${KEY}`, `HLEN ${KEY}`],
      ...[`HKEYS ${KEY}`, `HRANDFIELD ${KEY}`],
      ...[`HMGET ${KEY} f`, `HSET ${KEY} f v`, `HSETNX ${KEY} f v`],
    ],
  ],
  [
    '+@stream',
    'problem',
    [
      ...[`XACK ${KEY} g 0-1`, `XADD ${KEY} * f v`, `XDEL ${KEY} 0-1`, `XLEN ${KEY}`],
      ...[
        `XGROUP CREATE ${KEY} g $`,
        `XGROUP SETID ${KEY} g $`,
        `XCLAIM ${KEY} g c 0 0-1`,
        `XGROUP DELCONSUMER ${KEY} g c`,
      ],
      ...[`XINFO CONSUMERS ${KEY} g`, `XINFO GROUPS ${KEY}`],
      ...[`XPENDING ${KEY} g`, `XRANGE ${KEY} - +`, `XREVRANGE ${KEY} + -`],
      `XREADGROUP GROUP g c COUNT 1 STREAMS ${KEY} >`,
    ],
  ],
  [
    '+@sortedset',
    'problem',
    [
      ...[
        `ZADD ${KEY} 1 m`,
        `ZCARD ${KEY}`,
        `ZCOUNT ${KEY} 0 0`,
        `ZMSCORE ${KEY} m`,
        `ZRANGE ${KEY} 0 0`,
      ],
      ...[`ZRANGEBYSCORE ${KEY} 0 0`, `ZREM ${KEY} m`, `ZREMRANGEBYRANK ${KEY} 0 0`],
      ...[`ZRANDMEMBER ${KEY}`, `ZRANK ${KEY} m`, `ZSCAN ${KEY} 0`, `ZSCORE ${KEY} m`],
    ],
  ],
];

/** For the marks: without them, a replica that takes over may send webhooks again. */
function markProbes(prefix: string): readonly Probe[] {
  const channel = marksChannel(prefix);
  const object = `&${channel}`;
  return [
    { words: ['PUBLISH', channel, NO_KEY], command: '+publish', object, isHarmless: false },
    { words: ['SUBSCRIBE', channel], command: '+subscribe', object, isHarmless: true },
  ];
}

/** Read-only commands, scripts that do nothing, and connection commands. */
const HARMLESS = new RegExp(
  '^(PING|SELECT|CLIENT|CLUSTER|ASKING|EXISTS|GET|ROLE|TIME|INFO|SCAN|PEXPIRETIME|PTTL|SUBSCRIBE|EVAL|EVALSHA|' +
    'HEXISTS|HGET|HGETALL|HKEYS|HLEN|HMGET|HRANDFIELD|XINFO|XLEN|XPENDING|XRANGE|XREVRANGE|' +
    'ZCARD|ZCOUNT|ZMSCORE|ZRANGE|ZRANGEBYSCORE|ZRANDMEMBER|ZRANK|ZSCAN|ZSCORE|CONFIG GET)( |$)',
);

/** Permissions in the Redis that holds the keys, including the state's when it is there. */
export function rightsInRedis(settings: Settings, abilities: Abilities): Rights {
  const { redis, state, routes } = settings;
  const isStateHere = state.kind === 'redis' && state.section === 'redis';
  const needs = [
    ...ALWAYS,
    ...PROOF,
    ...(redis.cluster === null ? [] : CLUSTER),
    ...(redis.notifications === 'manage' ? CONFIG : []),
    ...(abilities.hasNoTouch && abilities.evictsByUse ? NO_TOUCH : []),
    ...(isStateHere ? STATE : []),
  ];
  const own = onOwnKeys(needs, state.prefix, isStateHere ? 'problem' : 'warning');
  const life = abilities.hasPexpiretime ? 'PEXPIRETIME' : 'PTTL';
  const objects = keyRules(routes, abilities);
  const channels = [...channelsOf(redis.databases)].map(
    ([channel, { database }]): Probe => ({
      words: ['SUBSCRIBE', channel],
      command: '+subscribe',
      object: `&${channelOf(database, '*')}`,
      isHarmless: true,
    }),
  );
  const marks = state.kind === 'redis' ? markProbes(state.prefix) : [];
  const reading: Probe[] = [
    ...[...objects].flatMap(([object, example]) => [
      { words: [life, example], command: `+${life.toLowerCase()}`, object, isHarmless: true },
      { words: ['EXISTS', example], command: null, object, isHarmless: true },
      { words: ['EVAL', 'return(1)', '1', example], command: null, object, isHarmless: true },
    ]),
    { words: ['SCAN', '0'], command: '+scan', object: null, isHarmless: true },
    ...valueProbes(routes, abilities),
    ...channels,
  ];
  return {
    rights: sortUnique([
      ...own.rights,
      ...rightsFor(reading, 'problem'),
      ...rightsFor(marks, 'warning'),
    ]),
    // Subscriptions come last: afterwards the connection can only subscribe.
    probes: [...own.probes, ...reading, ...marks],
  };
}

function rightsFor(probes: readonly Probe[], cost: Cost): Right[] {
  const rules = probes.flatMap(({ command, object }) => [command, object]);
  return rules.flatMap((rule) => (rule === null ? [] : [{ rule, cost }]));
}

/** Permissions in a Redis that holds the state alone. */
export function rightsInState(prefix: string): Rights {
  const { rights, probes } = onOwnKeys([...ALWAYS, ...STATE], prefix, 'problem');
  return { rights: sortUnique(rights), probes };
}

function onOwnKeys(needs: Needs, prefix: string, cost: Cost): Rights {
  const object = `~${ownKeyPrefix(prefix)}*`;
  const rights = needs.map(([rule, ruleCost]): Right => ({ rule, cost: ruleCost }));
  const probes = needs.flatMap(([command, , texts]) =>
    texts.map((text): Probe => {
      const words = text.split(' ');
      const hasKey = words.includes(KEY);
      return {
        words: words.map((word) => (word === KEY ? ownKeyPrefix(prefix) + NO_KEY : word)),
        command,
        object: hasKey ? object : null,
        isHarmless: HARMLESS.test(text),
      };
    }),
  );
  // A key that is allowed with EVAL is readable and writable.
  const whole: Probe = {
    words: ['EVAL', 'return(1)', '1', ownKeyPrefix(prefix) + NO_KEY],
    command: null,
    object,
    isHarmless: true,
  };
  return { rights: [...rights, { rule: object, cost }], probes: [...probes, whole] };
}

/** Each rule once, at its highest cost: commands, keys, channels. */
function sortUnique(rights: readonly Right[]): Right[] {
  const costs = new Map<string, Cost>();
  for (const { rule, cost } of rights) {
    if (costs.get(rule) !== 'problem') costs.set(rule, cost);
  }
  const all = [...costs].map(([rule, cost]) => ({ rule, cost }));
  const beginning = (pattern: RegExp) => all.filter(({ rule }) => pattern.test(rule));
  return [...beginning(/^\+/), ...beginning(/^[~%]/), ...beginning(/^&/)];
}

/** The commands that read values, and the keys that a `lookup` may name. */
function valueProbes(routes: readonly Route[], abilities: Abilities): Probe[] {
  const lookups = routes.flatMap(({ lookup }) => lookup ?? []);
  const included = routes.filter(({ includesValue }) => includesValue);
  const [known] = [...keyRules(included, abilities), ...rulesFor(lookups, abilities)];
  if (known === undefined) return [];
  const [object, example] = known;
  const reading = Object.entries(READ_VALUES).map(([command, words]): Probe => {
    const named = words.map((word) => (word === KEY ? example : word));
    return { words: named, command, object, isHarmless: true };
  });
  const looking = [...rulesFor(lookups, abilities)].map(
    ([rule, key]): Probe => ({
      words: ['EXISTS', key],
      command: null,
      object: rule,
      isHarmless: true,
    }),
  );
  return [...reading, ...looking];
}

/** The rules that allow the routes' keys to be read, each with a key to test. */
function keyRules(routes: readonly Route[], abilities: Abilities): ReadonlyMap<string, string> {
  const sources = routes.flatMap(({ patterns }) => patterns.map(({ source }) => source));
  return rulesFor(sources, abilities);
}

function rulesFor(
  sources: readonly string[],
  { hasReadRules }: Abilities,
): ReadonlyMap<string, string> {
  return new Map(
    sources.map((source) => {
      const glob = source.replaceAll(/\\.|\{\w+\}/gs, (part) => (part[0] === '{' ? '*' : part));
      // ACL rules cannot contain blanks; rare characters are not worth an exact rule.
      const safe = /^[\w:.,;@#/+=*?[\]^\\{}-]+$/.test(glob) ? glob : '*';
      return [`${hasReadRules ? '%R' : ''}~${safe}`, exampleOf(source)];
    }),
  );
}

/** A key that the pattern matches. */
function exampleOf(source: string): string {
  const bytes = parsePattern(source).map(byteOf);
  return decodeUtf8(Buffer.from(bytes)) ?? '';
}

const X = 'x'.charCodeAt(0);

function byteOf(element: Element): number {
  if (element.kind !== 'byte' || element.set[X] === 1) return X;
  return element.set.indexOf(1);
}
