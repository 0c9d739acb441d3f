/** Compares the guarantees of the relay with the records. Pure. */
import { isIn as isInSlots, slotOf } from '../../../src/redis/slots.js';
import { assign, type Case, CLOCK_SLACK_MS, last } from './assign.js';
import type { Command, Disturbance, Gap, Life, Loss, Received, Records, Span } from './records.js';

/**
 * What happens to a key just before a gap may not have been written down by the relay when it
 * begins; what it writes down after the gap, it needs a while for.
 */
const BEFORE_GAP_MS = 1_000;
const AFTER_GAP_MS = 2_000;

/** A key that expired in a gap is read so soon after it. To set it again before that hides its end. */
const READ_AFTER_GAP_MS = 1_000;

/** Webhooks never leave before the deadline; Redis and we have the same clock, to the millisecond. */
const EARLY_MS = 2;

/** A deadline of such a short duration may not have been read: the webhook has the one before. */
const BRIEF_MS = 1_000;

/** A deadline that is so far from any disturbance is met in calm. */
const CALM_BEFORE_MS = 3_000;
const CALM_AFTER_MS = 2_000;

/** The completion of a webhook is stored and replicated by then, without disturbances. */
const SETTLED_MS = 2_000;

export const VIOLATIONS = {
  lost: 'a key expired, and no webhook came',
  false: 'a webhook came for a key that was deleted, persisted, overwritten or renamed',
  stale: 'a webhook came for a deadline that the key no longer had',
  early: 'a webhook came before the deadline',
  outdated: 'a webhook of an expiration names a deadline that its key had before',
  'two ids': 'one expiration has several ids',
  'two bodies': 'one id has several bodies',
  'shared id': 'two expirations have the same id',
  'wrong deadline': 'a webhook names a deadline that its key never had',
  stranger: 'a webhook came for a key that never had a deadline',
  unverified: 'a webhook has a wrong signature',
  repeated: 'a webhook was sent again, though its completion had reached every replica of Redis',
  leftover: 'something is left when everything is over',
} as const;

export interface Violation {
  readonly kind: keyof typeof VIOLATIONS;
  readonly key: string | null;
  readonly life: Life | null;
  readonly received: readonly Received[];
  readonly text: string;
}

export interface Figures {
  readonly endings: Readonly<Record<Life['ending']['kind'], number>>;
  /** Lives of which the promoted server may lack a command: nothing is expected of them. */
  readonly uncertain: number;
  readonly webhooks: number;
  /** Requests beyond the first of each id. */
  readonly repeats: number;
  readonly recovered: number;
  /** Expired lives that had no known deadline when their webhook was made. */
  readonly withoutDeadline: number;
  readonly lostInGaps: number;
  readonly falseInGaps: number;
  /** From deadline to first arrival, without disturbances; ascending. */
  readonly latenessMs: readonly number[];
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly figures: Figures;
}

interface ReadGap extends Gap {
  /** The time at which the relay has read all keys that changed in the gap. */
  readonly readByMs: number;
}

/** The webhooks of one life. */
interface Finding {
  readonly violations: readonly Violation[];
  readonly isLostInGap: boolean;
  readonly falseInGaps: number;
}

export function judge(records: Records): Verdict {
  const { received, disturbances, saysNewKeys, leftovers } = records;
  const lost = disturbances.flatMap(({ losesWrites }) => losesWrites ?? []);
  const { cases, strangers, misnamed } = assign(records);
  const gapsOf = bySlot(disturbances.flatMap(({ gap }) => gap ?? []));
  const hiddenAfterMs = saysNewKeys ? 0 : READ_AFTER_GAP_MS;
  const findings = cases.map((one) =>
    isUncertain(one.life, lost)
      ? NOTHING
      : judgeOne(one, gapsOf(one.life.key), lost, hiddenAfterMs),
  );
  const violations = [
    ...strangers.map((one) => about('stranger', one)),
    ...misnamed.map((one) => about('wrong deadline', one)),
    ...findings.flatMap((finding) => finding.violations),
    ...sharedIds(cases),
    ...repeatedIn(received, disturbances),
    ...received.filter(({ isVerified }) => !isVerified).map((one) => about('unverified', one)),
    ...leftovers.map((text) => ({ ...NOBODY, kind: 'leftover' as const, text })),
  ];
  const firsts = new Map(received.map((one) => [one.id, one]).reverse() as [string, Received][]);
  const endings = { expired: 0, deleted: 0, persisted: 0, overwritten: 0 };
  const counts = { ...endings, renamed: 0, replaced: 0, unknown: 0 };
  for (const { life } of cases) counts[life.ending.kind] += 1;
  const figures = {
    endings: counts,
    uncertain: cases.filter(({ life }) => isUncertain(life, lost)).length,
    webhooks: firsts.size,
    repeats: received.length - firsts.size,
    recovered: [...firsts.values()].filter(({ detectedBy }) => detectedBy === 'recovery').length,
    withoutDeadline: [...firsts.values()].filter(({ expiredAtMs }) => expiredAtMs === null).length,
    lostInGaps: findings.filter(({ isLostInGap }) => isLostInGap).length,
    falseInGaps: findings.reduce((sum, finding) => sum + finding.falseInGaps, 0),
    latenessMs: calmLateness(cases, disturbances),
  };
  return { violations, figures };
}

/** The gaps that concern a key. */
function bySlot(gaps: readonly Gap[]): (key: string) => readonly ReadGap[] {
  const found = new Map<number, readonly ReadGap[]>();
  return (key) => {
    const slot = slotOf(key);
    const its =
      found.get(slot) ??
      withReadBy(gaps.filter(({ slots }) => slots === null || isInSlots(slots, slot)));
    found.set(slot, its);
    return its;
  };
}

/** The next gap may begin before all keys are read: they are read after that one. */
function withReadBy(spans: readonly Gap[]): readonly ReadGap[] {
  const gaps: ReadGap[] = [];
  let next: ReadGap | null = null;
  for (const span of spans.toSorted((one, other) => other.fromMs - one.fromMs)) {
    const ownMs = span.toMs + AFTER_GAP_MS;
    next = { ...span, readByMs: next !== null && next.fromMs <= ownMs ? next.readByMs : ownMs };
    gaps.push(next);
  }
  return gaps;
}

const NOBODY = { key: null, life: null, received: [] } as const;

function about(kind: Violation['kind'], one: Received): Violation {
  return { kind, key: one.key, life: null, received: [one], text: VIOLATIONS[kind] };
}

const NOTHING: Finding = { violations: [], isLostInGap: false, falseInGaps: 0 };

/** Whether the promoted server may lack a command of this life. */
function isUncertain({ held, ending, origin }: Life, lost: readonly Loss[]): boolean {
  const commands = [...held.map(({ since }) => since), ...('at' in ending ? [ending.at] : [])];
  const isOwn = commands.some((at) => lost.some((loss) => mayLack(loss, at)));
  return isOwn || (origin !== null && isUncertain(origin, lost));
}

function mayLack(loss: Loss, command: Command): boolean {
  const isThere = loss.port === null || command.port === null || loss.port === command.port;
  return isThere && overlap(loss, command);
}

/** Webhooks that came again after their completion was stored, and had reached every replica of Redis. */
function repeatedIn(
  received: readonly Received[],
  disturbances: readonly Disturbance[],
): Violation[] {
  const acceptedAtMs = new Map<string, number>();
  return received.flatMap((one) => {
    const firstMs = acceptedAtMs.get(one.id);
    if (firstMs === undefined) {
      if (one.acceptedAtMs !== null) acceptedAtMs.set(one.id, one.acceptedAtMs);
      return [];
    }
    const settling = { fromMs: firstMs, toMs: firstMs + SETTLED_MS };
    const isDisturbed = disturbances.some((each) => overlap(each, settling));
    return isDisturbed || one.atMs <= settling.toMs ? [] : [about('repeated', one)];
  });
}

function judgeOne(
  one: Case,
  gaps: readonly ReadGap[],
  lost: readonly Loss[],
  hiddenAfterMs: number,
): Finding {
  switch (one.life.ending.kind) {
    case 'expired':
      return judgeExpired(one, gaps, lost, hiddenAfterMs);
    case 'unknown':
      return { violations: oneIdEach(one, one.received, lost), isLostInGap: false, falseInGaps: 0 };
    default:
      return judgeEnded(one, gaps, lost, one.life.ending.at);
  }
}

/**
 * Exactly one webhook, at the last deadline. `hiddenAfterMs` is how long after a gap a key that is set
 * again hides that it expired in the gap.
 */
function judgeExpired(
  one: Case,
  gaps: readonly ReadGap[],
  lost: readonly Loss[],
  hiddenAfterMs: number,
): Finding {
  const { life, next, received } = one;
  const { deadlineMs, since } = last(life);
  const isStale = ({ expiredAtMs }: Received) => expiredAtMs !== null && expiredAtMs !== deadlineMs;
  // A webhook detected at the last deadline or later belongs to that one, whichever it names.
  const isLate = ({ detectedAtMs }: Received) => detectedAtMs >= deadlineMs - CLOCK_SLACK_MS;
  const stale = received.filter((each) => isStale(each) && !isLate(each));
  const outdated = received.filter((each) => isStale(each) && isLate(each));
  // Its deadline was changed, and it expired, during a gap: the relay has the old one.
  const isUnseen = gaps.some((gap) => isIn(gap, since) && deadlineMs <= gap.readByMs);
  const forbidden = stale.filter(({ detectedBy }) => !isUnseen || detectedBy !== 'recovery');
  const isBrief = deadlineMs - since.fromMs < BRIEF_MS;
  const misnamed = isUnseen || isBrief ? [] : outdated;
  const real = received.filter((each) => (isUnseen ? !isStale(each) : !stale.includes(each)));
  // It expired during a gap, and was set again before it was read or reported as new: it looks
  // as if its life had been extended.
  const isHidden = gaps.some(
    (gap) =>
      next !== null &&
      isIn({ ...gap, toMs: gap.toMs + hiddenAfterMs }, next.held[0].since) &&
      isIn(gap, { fromMs: deadlineMs, toMs: deadlineMs }),
  );
  const isLost = received.length === 0;
  const early = real.filter(({ atMs }) => atMs < deadlineMs - EARLY_MS);
  return {
    violations: [
      ...(isLost && !isUnseen && !isHidden ? [violation('lost', one, [])] : []),
      ...(forbidden.length > 0 ? [violation('stale', one, forbidden)] : []),
      ...(misnamed.length > 0 ? [violation('outdated', one, misnamed)] : []),
      ...(early.length > 0 ? [violation('early', one, early)] : []),
      ...oneIdEach(one, real, lost),
    ],
    isLostInGap: isLost && (isUnseen || isHidden),
    falseInGaps: new Set(stale.map(({ id }) => id)).size,
  };
}

/** None, unless it went in a gap that lasted past its deadline. A key that is still there is read. */
function judgeEnded(one: Case, gaps: readonly ReadGap[], lost: readonly Loss[], at: Span): Finding {
  const { life, received } = one;
  const isGone = /deleted|renamed|replaced/.test(life.ending.kind);
  const isUnseen = (deadlineMs: number) =>
    isGone && gaps.some((gap) => isIn(gap, at) && deadlineMs <= gap.readByMs);
  const forbidden = received.filter(({ detectedBy, expiredAtMs }) => {
    return detectedBy !== 'recovery' || !isUnseen(expiredAtMs ?? last(life).deadlineMs);
  });
  return {
    violations: [
      ...(forbidden.length > 0 ? [violation('false', one, forbidden)] : []),
      ...oneIdEach(one, received, lost),
    ],
    isLostInGap: false,
    falseInGaps: new Set(received.map(({ id }) => id)).size,
  };
}

/** For what is one expiration: one id, and for one id the same bytes, unless the state lost its last writes between. */
function oneIdEach(one: Case, received: readonly Received[], lost: readonly Loss[]): Violation[] {
  const firsts = new Map<string, Received>();
  const changed: Received[] = [];
  for (const each of received) {
    const first = firsts.get(each.id) ?? each;
    firsts.set(each.id, first);
    const between = { fromMs: first.atMs, toMs: each.atMs };
    const isBuiltAgain = lost.some((loss) => loss.isOfState && overlap(loss, between));
    if (each.body !== first.body && !isBuiltAgain) changed.push(first, each);
  }
  return [
    ...(firsts.size > 1 ? [violation('two ids', one, received)] : []),
    ...(changed.length > 0 ? [violation('two bodies', one, changed)] : []),
  ];
}

function sharedIds(cases: readonly Case[]): Violation[] {
  const firsts = new Map<string, Case>();
  const shared: Violation[] = [];
  for (const one of cases) {
    for (const id of new Set(one.received.map((each) => each.id))) {
      const first = firsts.get(id);
      if (first) shared.push(violation('shared id', one, [...first.received, ...one.received]));
      else firsts.set(id, one);
    }
  }
  return shared;
}

function calmLateness(cases: readonly Case[], disturbances: readonly Disturbance[]): number[] {
  return cases
    .flatMap(({ life, received }) => {
      const { deadlineMs } = last(life);
      const firstMs = Math.min(...received.map(({ atMs }) => atMs));
      const around = { fromMs: deadlineMs - CALM_BEFORE_MS, toMs: deadlineMs + CALM_AFTER_MS };
      const isCalm = !disturbances.some((disturbance) => overlap(disturbance, around));
      const counts = received.length > 0 && isCalm && life.ending.kind === 'expired';
      return counts ? [firstMs - deadlineMs] : [];
    })
    .sort((a, b) => a - b);
}

function violation(kind: Violation['kind'], one: Case, received: readonly Received[]): Violation {
  return { kind, key: one.life.key, life: one.life, received, text: VIOLATIONS[kind] };
}

/** Whether it happened in the gap, or so shortly before it that the relay may not know. */
function isIn(gap: Span, happened: Span): boolean {
  return overlap({ fromMs: gap.fromMs - BEFORE_GAP_MS, toMs: gap.toMs }, happened);
}

function overlap(one: Span, other: Span): boolean {
  return one.fromMs <= other.toMs && other.fromMs <= one.toMs;
}
