/** Which webhook belongs to which life of its key. Pure. */
import type { Held, Life, Received, Records } from './records.js';

/** The largest error of the relay's estimate of Redis's clock. */
export const CLOCK_SLACK_MS = 50;

/** A life, its webhooks, and the next life of the same key. */
export interface Case {
  readonly life: Life;
  readonly next: Life | null;
  readonly received: Received[];
}

/** To which life each webhook belongs. */
export function assign({ lives, received }: Pick<Records, 'lives' | 'received'>) {
  const inOrder = [...lives].sort((a, b) => a.held[0].since.fromMs - b.held[0].since.fromMs);
  const cases: Case[] = [];
  const ofKey = new Map<string, Case[]>();
  for (const life of inOrder.reverse()) {
    const later = ofKey.get(life.key) ?? [];
    const one = { life, next: later[0]?.life ?? null, received: [] };
    cases.push(one);
    ofKey.set(life.key, [one, ...later]);
  }
  /** For keys that never had a deadline, and at deadlines that their keys never had. */
  const strangers: Received[] = [];
  const misnamed: Received[] = [];
  for (const its of inOrderOfDeadlines(received)) {
    const [one] = its;
    const lives = ofKey.get(one.key);
    const found = lives === undefined ? null : caseOf(one, lives);
    if (found) found.received.push(...its);
    else (lives === undefined ? strangers : misnamed).push(one);
  }
  return { cases, strangers, misnamed };
}

/** By id; those that name their deadlines first, since it is plain to which life they belong. */
function inOrderOfDeadlines(received: readonly Received[]): [Received, ...Received[]][] {
  const byId = new Map<string, [Received, ...Received[]]>();
  for (const one of received) {
    const its = byId.get(`${one.id} ${one.key}`);
    if (its) its.push(one);
    else byId.set(`${one.id} ${one.key}`, [one]);
  }
  const rank = ({ expiredAtMs, detectedAtMs }: Received) =>
    expiredAtMs === null ? detectedAtMs : Number.NEGATIVE_INFINITY;
  return [...byId.values()].sort(([a], [b]) => Math.sign(rank(a) - rank(b)) || 0);
}

/** One that names no deadline belongs to the last life that was due by then, and has none yet. */
function caseOf(one: Received, cases: readonly Case[]): Case | undefined {
  const { expiredAtMs, detectedAtMs } = one;
  const canExpire = ({ life }: Case) => /expired|unknown/.test(life.ending.kind);
  if (expiredAtMs !== null) {
    const its = cases.filter(({ life }) => life.held.some((h) => h.deadlineMs === expiredAtMs));
    return its.find(canExpire) ?? heirOf(its[0], one, cases.filter(canExpire)) ?? its[0];
  }
  const isFree = ({ received }: Case) => received.length === 0;
  const dueBy = (ms: number) => cases.filter((each) => last(each.life).deadlineMs <= ms);
  const due = dueBy(detectedAtMs).filter(canExpire);
  const soon = dueBy(detectedAtMs + CLOCK_SLACK_MS).filter(canExpire);
  return due.findLast(isFree) ?? soon.findLast(isFree) ?? soon.at(-1) ?? cases[0];
}

/** A later life, if Redis reported its expiration: the webhook has the wrong deadline. */
function heirOf(
  named: Case | undefined,
  { detectedBy, detectedAtMs }: Received,
  cases: readonly Case[],
): Case | undefined {
  if (named === undefined || detectedBy !== 'notification') return undefined;
  const begunMs = named.life.held[0].since.fromMs;
  return cases.find(
    ({ life, received }) =>
      life.held[0].since.fromMs > begunMs &&
      last(life).deadlineMs <= detectedAtMs + CLOCK_SLACK_MS &&
      received.length === 0,
  );
}

export function last({ held }: Life): Held {
  return held.at(-1) ?? held[0];
}
