import { pino } from 'pino';
import { expect, it } from 'vitest';
import { RedisUnreachableError } from '../../src/model/errors.js';
import type { Answer, Voter } from '../../src/redis/sentinels/vote.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { SourceEvents } from '../../src/telemetry/source-events.js';

const NAMES: Answer = {
  kind: 'named',
  id: 'a',
  primary: { host: 'one', port: 6379 },
  others: [],
  quorum: 1,
};
const DOWN: Answer = { kind: 'failed', error: new RedisUnreachableError('it is down') };

const voters = (...answers: Answer[]): Voter[] =>
  answers.map((answer, n) => ({ address: `s${n}:1`, isConfigured: true, answer }));

it('the sentinels of two primaries with one name are reported apart, and each finding once', () => {
  const lines: { level: number; event: string }[] = [];
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) });
  const events = new SourceEvents(log, new Metrics({ endpoints: new Map(), routes: [] }));
  for (let round = 0; round < 2; round += 1) {
    events.sentinels('redis.sentinel', 'mymaster', voters(DOWN));
    events.sentinels('state.sentinel', 'mymaster', voters(NAMES));
  }
  expect(lines).toEqual([expect.objectContaining({ event: 'sentinels', level: 50 })]);
});
