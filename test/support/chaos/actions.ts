/**
 * Actions on the relays and Redis. Every action leaves one replica unaffected, which listens from
 * its beginning until all have recovered, or else is a gap.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningRedis } from '../../../scripts/lib/redis-server.mjs';
import { resume, type SentinelGroup } from '../sentinel.js';
import type { TcpProxy } from '../tcp-proxy.js';
import { CLUSTER_CHANGES } from './cluster-actions.js';
import type { Deployment, Look, Slot } from './deployment.js';
import type { Random } from './random.js';
import type { Disturbance, Gap, Loss } from './records.js';

const LOOK_EVERY_MS = 50;
const GAP_MS_MAX = 60_000;
const BEHIND_MS_MAX = 5_000;

type ToOneAction = (deployment: Deployment, slot: Slot, random: Random) => Promise<void>;

/** Breaks these proxies to Redis for a while; in the end their connections are closed. */
function broken(
  waysOf: (slot: Slot) => readonly TcpProxy[],
  breakOne: (way: TcpProxy) => void,
  leastMs: number,
  mostMs: number,
): ToOneAction {
  return async (_, slot, random) => {
    const ways = waysOf(slot);
    for (const way of ways) breakOne(way);
    await sleep(random.between(leastMs, mostMs));
    cut(ways, false);
  };
}

const allWays = ({ ways }: Slot) => ways;
const keysWay = (slot: Slot) => slot.keysWay;
const stateWay = (slot: Slot) => slot.stateWay;
const refuse = (way: TcpProxy) => way.cut(true);
const silence = (way: TcpProxy) => way.silencePresent();
const loseReplies = (way: TcpProxy) => way.loseReplies();

/** Done to one replica. */
const TO_ONE = {
  kill: async (deployment, slot) => {
    await slot.process?.stop('SIGKILL');
    await deployment.fill(slot);
  },
  'stop gracefully': async (deployment, slot) => {
    await slot.process?.stop('SIGTERM');
    await deployment.fill(slot);
  },
  pause: async (_, slot, random) => {
    slot.process?.kill('SIGSTOP');
    await sleep(random.between(500, 10_000));
    slot.process?.kill('SIGCONT');
  },
  'pause for 10 s': async (_, slot) => {
    slot.process?.kill('SIGSTOP');
    await sleep(10_000);
    slot.process?.kill('SIGCONT');
  },
  'drop connections': async (_, { ways }) => cut(ways, false),
  'cut off': broken(allWays, refuse, 200, 5_000),
  silence: broken(allWays, silence, 500, 8_000),
  'lose replies': broken(allWays, loseReplies, 500, 8_000),
  /** It keeps the lease until it detects the failure or its connections end. */
  deafen: broken(keysWay, silence, 500, 16_000),
  /** It still receives notifications. */
  'cut off the state': broken(stateWay, refuse, 200, 8_000),
} satisfies Record<string, ToOneAction>;

function cut(ways: readonly TcpProxy[], refuse: boolean): void {
  for (const way of ways) way.cut(refuse);
}

/** A sentinel takes a primary for down after a second. */
const SHORT_MS_MAX = 600;

/** Another server becomes the primary. `act` makes that begin; `after` follows once it has. */
function failover(
  act: (group: SentinelGroup, primary: RunningRedis) => Promise<unknown>,
  after: (primary: RunningRedis, random: Random) => Promise<unknown>,
): ToAllAction {
  return async (deployment, random) => {
    const { group } = withSentinels(deployment);
    const before = await group.primary();
    await act(group, before);
    await group.movedFrom(before);
    await after(before, random);
    return EVERYWHERE;
  };
}

function withSentinels({ servers }: Deployment) {
  if (servers.kind !== 'sentinel') throw new Error('expected sentinels');
  return servers;
}

async function laterOf(random: Random, step: () => unknown): Promise<void> {
  await sleep(random.between(0, 4_000));
  await step();
}

const killIt = (_: SentinelGroup, primary: RunningRedis) => primary.kill('SIGKILL');
const restartIt = (former: RunningRedis, random: Random) => laterOf(random, () => former.restart());

const killPrimary = failover(killIt, restartIt);

const FAILOVERS = {
  'kill the primary': killPrimary,
  'SENTINEL FAILOVER': failover(
    (group) => group.failOver(),
    async () => undefined,
  ),
  'hang the primary': failover(
    async (_, { pid }) => process.kill(pid, 'SIGSTOP'),
    (former, random) => laterOf(random, () => resume(former)),
  ),
  'kill the primary, with a sentinel that hangs': async (deployment, random) => {
    const [, sentinel] = withSentinels(deployment).group.sentinels;
    if (sentinel !== undefined) process.kill(sentinel.pid, 'SIGSTOP');
    try {
      return await killPrimary(deployment, random);
    } finally {
      if (sentinel !== undefined) resume(sentinel);
    }
  },
  /** The sentinels do not notice it, or do at the last moment. */
  'restart the primary': async (deployment, random) => {
    const { group } = withSentinels(deployment);
    const primary = await group.primary();
    await primary.kill('SIGKILL');
    await sleep(random.between(0, SHORT_MS_MAX));
    await primary.restart();
    await group.settled();
    return EVERYWHERE;
  },
} satisfies Record<string, ToAllAction>;

/** What an action on the servers, or on all replicas, has done. */
export interface Outcome {
  readonly losesWrites: Loss | null;
  /** Whether each replica has a gap of these slots; `perhaps`: that is to be found out. */
  readonly hasGap: 'certainly' | 'perhaps' | 'never';
  /** Null: all slots. */
  readonly slots: Gap['slots'];
}

export type ToAllAction = (deployment: Deployment, random: Random) => Promise<Outcome>;

/** Each replica has a gap. What failovers of sentinels lose is recorded with them, whatever has caused them. */
const EVERYWHERE: Outcome = { losesWrites: null, hasGap: 'certainly', slots: null };

const WITHOUT_SENTINELS = {
  'kill Redis': async ({ servers }, random) => {
    if (servers.kind !== 'single') throw new Error('expected a single Redis');
    const { redis } = servers;
    await redis.kill('SIGKILL');
    await sleep(random.between(0, 4_000));
    await redis.restart();
    return EVERYWHERE;
  },
  'cut all off': async ({ slots }, random) => {
    for (const { ways } of slots) cut(ways, true);
    await sleep(random.between(500, 6_000));
    for (const { ways } of slots) cut(ways, false);
    return EVERYWHERE;
  },
  'drop all connections': async ({ slots }) => {
    for (const { ways } of slots) cut(ways, false);
    return EVERYWHERE;
  },
  'kill all': async (deployment, random) => {
    for (const { process } of deployment.slots) process?.kill('SIGKILL');
    await Promise.all(deployment.slots.map(({ process }) => process?.exited));
    await sleep(random.between(0, 3_000));
    await Promise.all(deployment.slots.map((slot) => deployment.fill(slot)));
    return EVERYWHERE;
  },
} satisfies Record<string, ToAllAction>;

const TO_ALL = { ...WITHOUT_SENTINELS, ...FAILOVERS, ...CLUSTER_CHANGES };

type ToOne = keyof typeof TO_ONE;
type ToAll = keyof typeof TO_ALL;

/** The target: the replica that watches, or another one. */
export type Action =
  | { readonly watcher: ToOne | null; readonly other: ToOne | null; readonly all: null }
  | { readonly watcher: ToOne | null; readonly other: null; readonly all: ToAll };

const toWatcher = (watcher: ToOne): Action => ({ watcher, other: null, all: null });
const toOther = (other: ToOne): Action => ({ watcher: null, other, all: null });
const toBoth = (watcher: ToOne, other: ToOne): Action => ({ watcher, other, all: null });
const toAll = (all: ToAll, watcher: ToOne | null = null): Action => ({ watcher, other: null, all });

/** The actions of the specification, in less than a minute. */
export const SHORT_DECK: readonly Action[] = [
  toWatcher('kill'),
  toWatcher('pause for 10 s'),
  toWatcher('cut off'),
  toAll('kill Redis'),
  toAll('cut all off'),
];

export const LONG_DECK: readonly Action[] = [
  ...(Object.keys(TO_ONE) as ToOne[]).map(toWatcher),
  ...(Object.keys(WITHOUT_SENTINELS) as ToAll[]).map((all) => toAll(all)),
  toAll('kill Redis'),
  toAll('cut all off'),
  toOther('kill'),
  toOther('pause'),
  toBoth('kill', 'kill'),
  toBoth('pause', 'stop gracefully'),
  toBoth('lose replies', 'drop connections'),
  toBoth('cut off', 'pause'),
  toBoth('deafen', 'drop connections'),
  toBoth('cut off the state', 'drop connections'),
  toAll('kill Redis', 'pause'),
  toAll('kill Redis', 'lose replies'),
  toAll('drop all connections', 'pause'),
];

export const SENTINEL_DECK: readonly Action[] = [
  ...(['kill', 'stop gracefully', 'pause', 'pause for 10 s'] as const).map(toWatcher),
  ...(Object.keys(FAILOVERS) as (keyof typeof FAILOVERS)[]).map((all) => toAll(all)),
  toAll('kill all'),
  toOther('kill'),
  toBoth('pause', 'stop gracefully'),
  toAll('kill the primary', 'kill'),
  toAll('SENTINEL FAILOVER', 'pause'),
  toAll('hang the primary', 'pause'),
];

export const CLUSTER_DECK: readonly Action[] = [
  ...(['kill', 'stop gracefully', 'pause', 'pause for 10 s'] as const).map(toWatcher),
  ...(['drop connections', 'cut off', 'silence', 'lose replies'] as const).map(toWatcher),
  ...(Object.keys(CLUSTER_CHANGES) as (keyof typeof CLUSTER_CHANGES)[]).map((all) => toAll(all)),
  toAll('move slots'),
  toAll('hang a primary'),
  toAll('kill all'),
  toAll('cut all off'),
  toOther('kill'),
  toBoth('pause', 'stop gracefully'),
  toAll('kill a primary', 'kill'),
  toAll('CLUSTER FAILOVER', 'pause'),
  toAll('hang a primary', 'pause'),
  toAll('move slots', 'kill'),
  toAll('move slots', 'pause'),
  toAll('move the state', 'kill'),
];

export function nameOf({ watcher, other, all }: Action): string {
  const parts = [watcher && `${watcher} (watcher)`, other && `${other} (other)`, all];
  return parts.filter((part) => part !== null).join(' + ');
}

/** Performs the action; resolves when all have recovered. */
export async function disturb(
  deployment: Deployment,
  action: Action,
  random: Random,
): Promise<Disturbance> {
  await deployment.atRest();
  const [watcher, other] = await deployment.watcherFirst();
  const { all } = action;
  const before = await deployment.looks();
  const listensAnew = deployment.slots.map((slot, at) => {
    const { process } = slot;
    return async () => {
      const { isReady, isWatching, gaps } = await slot.look();
      const isAnother = slot.process !== process || gaps > (before[at]?.gaps ?? 0);
      return isAnother && isReady && isWatching;
    };
  });
  // On a busy machine it may not have processed the events of the last seconds.
  const behindMs = (await deployment.hasCaughtUp()) ? 0 : BEHIND_MS_MAX;
  const fromMs = Date.now();
  const doing = [
    ...(action.watcher === null ? [] : [TO_ONE[action.watcher](deployment, watcher, random)]),
    ...(action.other === null ? [] : [TO_ONE[action.other](deployment, other, random)]),
  ];
  const over = new AbortController();
  const listening = all === null ? null : first(listensAnew, over.signal);
  try {
    const acting = all === null ? null : TO_ALL[all](deployment, random);
    const [outcome] = await Promise.all([acting, ...doing]);
    const gapToMs = (await leavesGap(outcome, deployment, before)) ? await listening : null;
    await deployment.atRest();
    const { losesWrites = null, slots = null } = outcome ?? {};
    const gap = gapToMs === null ? null : { fromMs: fromMs - behindMs, toMs: gapToMs, slots };
    return { what: nameOf(action), fromMs, toMs: Date.now(), gap, losesWrites };
  } finally {
    over.abort();
    await listening?.catch(() => undefined);
  }
}

/** Whether no replica has listened without a break. */
async function leavesGap(
  outcome: Outcome | null,
  deployment: Deployment,
  before: readonly Look[],
): Promise<boolean> {
  if (outcome?.hasGap !== 'perhaps') return outcome?.hasGap === 'certainly';
  await deployment.atRest();
  const after = await deployment.looks();
  return after.every(({ gaps }, at) => gaps !== before[at]?.gaps);
}

/** When one of these is true for the first time; each is asked at its own pace. Null once the signal aborts. */
async function first(
  questions: readonly (() => Promise<boolean>)[],
  over: AbortSignal,
): Promise<number | null> {
  const untilMs = Date.now() + GAP_MS_MAX;
  let foundAtMs: number | null = null;
  const ask = async (question: () => Promise<boolean>) => {
    while (foundAtMs === null && Date.now() < untilMs && !over.aborted) {
      if (await question()) foundAtMs ??= Date.now();
      else await sleep(LOOK_EVERY_MS);
    }
  };
  await Promise.race(
    questions.map(async (question) => {
      await ask(question);
      if (foundAtMs !== null || over.aborted) return;
      throw new Error(`no replica listens anew within ${GAP_MS_MAX} ms`);
    }),
  );
  return foundAtMs;
}
