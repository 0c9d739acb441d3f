import { describe, expect, it } from 'vitest';
import { judge } from '../support/chaos/oracle.js';
import type { Disturbance, Ending, Life, Received, Records } from '../support/chaos/records.js';

/** When the key gets its deadline, and when that is. */
const SET_MS = 100_000;
const DEADLINE_MS = 105_000;

const at = (ms: number) => ({ fromMs: ms, toMs: ms, port: null });

function aLife(given: Partial<Life> = {}): Life {
  const held: Life['held'] = [{ deadlineMs: DEADLINE_MS, since: at(SET_MS) }];
  return { key: 'order:1', held, ending: { kind: 'expired' }, origin: null, ...given };
}

/** It is given another deadline. */
const changed = (atMs: number, deadlineMs: number): Life => {
  const [first] = aLife().held;
  return aLife({ held: [first, { deadlineMs, since: at(atMs) }] });
};

type Seen = Exclude<Ending['kind'], 'expired' | 'unknown'>;

const ended = (kind: Seen, atMs: number) => aLife({ ending: { kind, at: at(atMs) } });

function aWebhook(given: Partial<Received> = {}): Received {
  const { expiredAtMs = DEADLINE_MS, detectedAtMs = (expiredAtMs ?? DEADLINE_MS) + 2 } = given;
  return {
    key: 'order:1',
    id: `msg_${expiredAtMs}`,
    body: `{"expired_at":${expiredAtMs}}`,
    atMs: detectedAtMs + 3,
    detectedBy: 'notification',
    isVerified: true,
    acceptedAtMs: null,
    ...given,
    expiredAtMs,
    detectedAtMs,
  };
}

const recovered = (given: Partial<Received> = {}) => aWebhook({ detectedBy: 'recovery', ...given });

function gap(fromMs: number, toMs: number): Disturbance {
  return {
    what: 'kill Redis',
    fromMs,
    toMs: toMs + 500,
    gap: { fromMs, toMs, slots: null },
    losesWrites: null,
  };
}

function judged(
  lives: readonly Life[],
  received: readonly Received[],
  more: Partial<Records> = {},
) {
  const verdict = judge({
    lives,
    received,
    disturbances: [],
    saysNewKeys: false,
    leftovers: [],
    ...more,
  });
  return { ...verdict, kinds: verdict.violations.map(({ kind }) => kind) };
}

const inGap = (...disturbances: Disturbance[]) => ({ disturbances });

describe('the oracle, of a key that expired,', () => {
  it('accepts one webhook, and repeats of it', () => {
    const { kinds, figures } = judged(
      [aLife()],
      [aWebhook(), aWebhook({ atMs: DEADLINE_MS + 99 })],
    );
    expect(kinds).toEqual([]);
    expect(figures).toMatchObject({ webhooks: 1, repeats: 1, latenessMs: [5] });
  });

  it('reports a missing webhook', () => {
    expect(judged([aLife()], []).kinds).toEqual(['lost']);
  });

  it('reports a missing webhook after a gap, too, when the key was tracked before', () => {
    const { kinds } = judged([aLife()], [], inGap(gap(SET_MS + 2_000, DEADLINE_MS + 2_000)));
    expect(kinds).toEqual(['lost']);
  });

  it('reports a missing webhook when the key was set in a gap and outlived it', () => {
    const { kinds } = judged([aLife()], [], inGap(gap(SET_MS - 100, SET_MS + 500)));
    expect(kinds).toEqual(['lost']);
  });

  it('accepts a missing webhook when the key was set and expired in one gap', () => {
    const verdict = judged([aLife()], [], inGap(gap(SET_MS - 100, DEADLINE_MS + 100)));
    expect(verdict.kinds).toEqual([]);
    expect(verdict.figures.lostInGaps).toBe(1);
  });

  it.each([
    ['does not miss it', 1_500, 0],
    ['misses it', 2_500, 1],
  ])(
    '%s when it expired in a gap that began %d ms after the one in which the key was set',
    (_, apartMs, count) => {
      const first = gap(SET_MS - 100, SET_MS + 500);
      const disturbances = [gap(SET_MS + 500 + apartMs, DEADLINE_MS + 100), first];
      const { kinds } = judged([aLife()], [], { disturbances });
      expect(kinds).toHaveLength(count);
    },
  );

  it('accepts a missing webhook when the key was set again in the gap in which it expired', () => {
    const next = aLife({ held: [{ deadlineMs: 120_000, since: at(DEADLINE_MS + 50) }] });
    const received = [aWebhook({ expiredAtMs: 120_000 })];
    const disturbances = [gap(DEADLINE_MS - 50, DEADLINE_MS + 100)];
    expect(judged([aLife(), next], received, { disturbances }).kinds).toEqual([]);
    expect(judged([aLife(), next], received).kinds).toEqual(['lost']);
  });

  it('accepts a missing webhook when the key was set again just after that gap, unless new keys are published', () => {
    const next = aLife({ held: [{ deadlineMs: 120_000, since: at(DEADLINE_MS + 600) }] });
    const received = [aWebhook({ expiredAtMs: 120_000 })];
    const soon = { disturbances: [gap(DEADLINE_MS - 50, DEADLINE_MS + 100)] };
    const sooner = { disturbances: [gap(DEADLINE_MS - 1_000, DEADLINE_MS - 500)] };
    expect(judged([aLife(), next], received, soon).kinds).toEqual([]);
    expect(judged([aLife(), next], received, { ...soon, saysNewKeys: true }).kinds).toEqual([
      'lost',
    ]);
    expect(judged([aLife(), next], received, sooner).kinds).toEqual(['lost']);
  });

  it('reports a second id', () => {
    const late = aWebhook({
      id: 'msg_other',
      expiredAtMs: null,
      detectedAtMs: DEADLINE_MS + 5_000,
    });
    expect(judged([aLife()], [aWebhook(), late]).kinds).toEqual(['two ids']);
  });

  it('reports a second body', () => {
    expect(judged([aLife()], [aWebhook(), aWebhook({ body: '{}' })]).kinds).toEqual(['two bodies']);
  });

  it('reports a webhook that was sent too early', () => {
    const { kinds } = judged([aLife()], [aWebhook({ atMs: DEADLINE_MS - 10 })]);
    expect(kinds).toEqual(['early']);
  });

  it('reports a deadline that the key never had', () => {
    const { kinds } = judged([aLife()], [aWebhook({ expiredAtMs: DEADLINE_MS + 1 })]);
    expect(kinds).toEqual(['wrong deadline', 'lost']);
  });

  it('reports a wrong signature', () => {
    expect(judged([aLife()], [aWebhook({ isVerified: false })]).kinds).toEqual(['unverified']);
  });

  it('distinguishes several lives, and reports an id that two of them share', () => {
    const next = aLife({ held: [{ deadlineMs: 105_020, since: at(105_010) }] });
    const second = aWebhook({ expiredAtMs: 105_020 });
    expect(judged([aLife(), next], [aWebhook(), second]).kinds).toEqual([]);
    const unnamed = [105_011, 105_024].map((detectedAtMs) =>
      aWebhook({ id: `msg_${detectedAtMs}`, expiredAtMs: null, detectedAtMs }),
    );
    expect(judged([aLife(), next], unnamed).kinds).toEqual([]);
    const shared = aWebhook({ ...second, id: aWebhook().id, body: aWebhook().body });
    expect(judged([aLife(), next], [aWebhook(), shared]).kinds).toContain('lost');
    expect(
      judged([aLife(), aLife({ key: 'order:2' })], [aWebhook(), aWebhook({ key: 'order:2' })])
        .kinds,
    ).toEqual(['shared id']);
  });
});

describe('the oracle, of a key whose deadline was changed,', () => {
  const life = changed(SET_MS + 1_000, 108_000);

  it('requires one webhook, at the last one', () => {
    expect(judged([life], [aWebhook({ expiredAtMs: 108_000 })]).kinds).toEqual([]);
  });

  it('reports a webhook at an earlier one', () => {
    const received = [aWebhook(), aWebhook({ expiredAtMs: 108_000 })];
    expect(judged([life], received).kinds).toEqual(['stale']);
  });

  it('reports a webhook with an earlier one', () => {
    const received = [aWebhook({ detectedAtMs: 108_002 })];
    expect(judged([life], received).kinds).toEqual(['outdated']);
  });

  it('allows both when it was changed, and expired, in one gap', () => {
    const disturbances = [gap(SET_MS + 500, 110_000)];
    const outdated = aWebhook({ detectedAtMs: 110_002 });
    expect(judged([life], [outdated], { disturbances }).kinds).toEqual([]);
    expect(judged([life], [recovered()], { disturbances }).kinds).toEqual([]);
  });
});

describe('the oracle, of a key that did not expire,', () => {
  const seen: Seen[] = ['deleted', 'persisted', 'overwritten', 'renamed', 'replaced'];

  it.each(seen)('requires no webhook when it was %s', (kind) => {
    const life = ended(kind, SET_MS + 1_000);
    expect(judged([life], []).kinds).toEqual([]);
    expect(judged([life], [aWebhook()]).kinds).toEqual(['false']);
    expect(judged([life], [recovered()]).kinds).toEqual(['false']);
  });

  it.each(seen)('allows only a recovery when it was %s in a gap, and is missing', (kind) => {
    const life = ended(kind, SET_MS + 1_000);
    const disturbances = [gap(SET_MS + 500, DEADLINE_MS + 100)];
    const isThere = kind === 'persisted' || kind === 'overwritten';
    expect(judged([life], [recovered()], { disturbances }).kinds).toEqual(isThere ? ['false'] : []);
    expect(judged([life], [aWebhook()], { disturbances }).kinds).toEqual(['false']);
  });

  it('allows none when the gap was over well before the deadline', () => {
    const disturbances = [gap(SET_MS + 500, SET_MS + 1_500)];
    const life = ended('deleted', SET_MS + 1_000);
    expect(judged([life], [recovered()], { disturbances }).kinds).toEqual(['false']);
  });

  it('allows none when it vanished outside the gap', () => {
    const disturbances = [gap(SET_MS + 3_000, DEADLINE_MS + 100)];
    const life = ended('deleted', SET_MS + 1_000);
    expect(judged([life], [recovered()], { disturbances }).kinds).toEqual(['false']);
  });
});

describe('the oracle', () => {
  it('allows one id at most when the fate of a key is unknown', () => {
    const life = aLife({ ending: { kind: 'unknown' } });
    expect(judged([life], []).kinds).toEqual([]);
    expect(judged([life], [aWebhook()]).kinds).toEqual([]);
    const two = [aWebhook(), aWebhook({ id: 'msg_other' })];
    expect(judged([life], two).kinds).toEqual(['two ids']);
  });

  it('reports a webhook for a key that never had a deadline', () => {
    expect(judged([], [aWebhook()]).kinds).toEqual(['stranger']);
  });

  it('reports leftovers at the end', () => {
    expect(judged([], [], { leftovers: ['a dead letter'] }).kinds).toEqual(['leftover']);
  });
});

describe('the oracle, of a failover of Redis,', () => {
  /** Another server is promoted: what was written within a second before may not have reached it. */
  function failover(fromMs: number, toMs: number): Disturbance {
    const losesWrites = { fromMs: fromMs - 1_000, toMs, port: null, isOfState: true };
    return { ...gap(fromMs, toMs), what: 'kill the primary', losesWrites };
  }

  const disturbances = [failover(SET_MS + 2_000, SET_MS + 4_000)];

  it('requires the webhook of a key that had reached the promoted server', () => {
    expect(judged([aLife()], [], { disturbances }).kinds).toEqual(['lost']);
    expect(judged([aLife()], [aWebhook()], { disturbances }).kinds).toEqual([]);
  });

  it('expects nothing of a key whose last command may be lost, nor of one that was renamed from it', () => {
    const life = changed(SET_MS + 1_500, 108_000);
    const renamed = aLife({ key: 'order:2', origin: life });
    const received = [aWebhook(), aWebhook({ key: 'order:2', id: 'msg_other' })];
    expect(judged([life, renamed], received, { disturbances }).kinds).toEqual([]);
    expect(judged([life, renamed], [], { disturbances }).kinds).toEqual([]);
  });

  it('allows a repeat, built again, if the completion of the first may be lost', () => {
    const life = aLife({ held: [{ deadlineMs: SET_MS + 1_900, since: at(SET_MS) }] });
    const first = aWebhook({ expiredAtMs: SET_MS + 1_900, acceptedAtMs: SET_MS + 1_910 });
    const again = { ...first, body: 'built again', atMs: SET_MS + 4_500 };
    expect(judged([life], [first, again], { disturbances }).kinds).toEqual([]);
    expect(judged([life], [first, again]).kinds).toContain('two bodies');
  });

  it('reports a repeat if the completion of the first had reached the promoted server', () => {
    const early = [failover(SET_MS + 8_000, SET_MS + 9_000)];
    const first = aWebhook({ acceptedAtMs: DEADLINE_MS + 10 });
    const again = { ...first, atMs: SET_MS + 9_500 };
    expect(judged([aLife()], [first, again], { disturbances: early }).kinds).toEqual(['repeated']);
  });
});
