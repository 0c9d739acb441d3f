/** Runs the chaos test for a while, and evaluates it with the oracle. */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../eventually.js';
import { type Action, disturb } from './actions.js';
import { Deployment, type Topology } from './deployment.js';
import { Standstills, stallsOf } from './machine-stalls.js';
import { judge, type Verdict } from './oracle.js';
import { Random } from './random.js';
import type { Disturbance, Records } from './records.js';
import { diagnose, keepLogs, tableOf } from './report.js';
import { Writer } from './writer.js';

export interface ChaosOptions {
  readonly seed: number;
  readonly topology: Topology;
  /** Each action runs at least once, in an order given by the seed. */
  readonly deck: readonly Action[];
  readonly durationMsMin: number;
  readonly calmMsMax: number;
  readonly keysPerS: number;
  readonly lifeMsMax: number;
  readonly say: (line: string) => void;
}

/** Claims of a dead replica are taken over after some 15 s. A limit on waiting, since a machine may stall. */
const LOOK_EVERY_MS = 100;
const LOOKS_MAX = 600;

/** A key that is missing without a notification is reported a second after its deadline. */
const QUIET_MS = 2_000;

export async function runChaos(options: ChaosOptions): Promise<Verdict> {
  const { seed, topology, keysPerS, lifeMsMax, say } = options;
  const random = new Random(seed);
  const saysNewKeys = random.fork('new keys').chance(0.5);
  say(`chaos, ${topology}, seed ${seed}${saysNewKeys ? ', new keys are published' : ''}`);
  await using deployment = await Deployment.start(random.fork('receiver'), saysNewKeys, topology);
  const { portOf } = deployment;
  const isCluster = topology === 'cluster';
  const choices = random.fork('writer');
  const writer = new Writer({ portOf, isCluster, random: choices, keysPerS, lifeMsMax });
  deployment.isWriterAt = (port) => writer.isConnectedTo(port);
  using standstills = new Standstills();
  writer.start();
  const disturbances: Disturbance[] = [];
  try {
    for await (const one of disturbAll(deployment, options, random.fork('actions'))) {
      disturbances.push(one);
      const gap = one.gap === null ? '' : `, gap of ${one.gap.toMs - one.gap.fromMs} ms`;
      say(`${one.what}: at rest after ${one.toMs - one.fromMs} ms${gap}`);
    }
  } catch (error) {
    say(`the logs: ${await keepLogs(deployment)}`);
    throw error;
  } finally {
    await writer.stop();
  }
  const leftovers = await untilRest(deployment, writer);
  const received = deployment.receivedAsGiven();
  const stalls = [...standstills.found, ...stallsOf(deployment, disturbances)];
  for (const { what, fromMs, toMs } of stalls) say(`${what}: ${toMs - fromMs} ms`);
  const all = [...disturbances, ...stalls, ...deployment.failovers];
  const { lives } = writer;
  const records: Records = { lives, received, disturbances: all, saysNewKeys, leftovers };
  const verdict = judge(records);
  for (const line of tableOf(verdict)) say(line);
  for (const line of await diagnose(verdict, records, deployment)) say(line);
  return verdict;
}

async function* disturbAll(
  deployment: Deployment,
  { deck, durationMsMin, calmMsMax }: ChaosOptions,
  random: Random,
): AsyncGenerator<Disturbance> {
  const beganAtMs = performance.now();
  for (let decks = 0; ; decks += 1) {
    for (const action of random.shuffled(deck)) {
      if (decks > 0 && performance.now() - beganAtMs >= durationMsMin) return;
      await sleep(random.between(500, calmMsMax));
      yield await disturb(deployment, action, random);
    }
    if (performance.now() - beganAtMs >= durationMsMin) return;
  }
}

/** Waits until every deadline has passed and nothing waits any more; resolves with what is left. */
async function untilRest({ slots, received }: Deployment, writer: Writer): Promise<string[]> {
  const lastMs = writer.lives.reduce((last, { deadlineMs }) => Math.max(last, deadlineMs), 0);
  await sleep(Math.max(0, lastMs - Date.now()) + QUIET_MS);
  const [slot] = slots;
  const zero = async (series: string) => {
    const value = await slot?.metric(series).catch(() => Number.NaN);
    return value === 0 ? [] : [`${series} is ${value}`];
  };
  const left = async () => [
    ...(await zero('expiry_relay_tracked_deadlines')),
    ...(await zero('expiry_relay_outbox_pending{endpoint="shop"}')),
    ...(await zero('expiry_relay_dead_letters{endpoint="shop"}')),
  ];
  let found = await left();
  for (let looks = 0; found.length > 0 && looks < LOOKS_MAX; looks += 1) {
    await sleep(LOOK_EVERY_MS);
    found = await left();
  }
  if (found.length > 0) return found;
  await eventually('no more webhooks', () => {
    return Date.now() - (received.at(-1)?.atMs ?? 0) > QUIET_MS;
  });
  return [];
}
