/**
 * No lost or spurious webhooks, and one id for each expiration, while replicas and Redis are killed,
 * paused and cut off. `npm run test:chaos` does more of it, for longer.
 */
import { describe, expect, it } from 'vitest';
import { SHORT_DECK } from '../support/chaos/actions.js';
import { runChaos } from '../support/chaos/run.js';

describe('three replicas', () => {
  it('keep their guarantees for changing keys while processes are killed, paused or disconnected', async () => {
    const said: string[] = [];
    const { violations, figures } = await runChaos({
      seed: 1,
      topology: 'single',
      deck: SHORT_DECK,
      durationMsMin: 0,
      calmMsMax: 1_500,
      keysPerS: 40,
      lifeMsMax: 8_000,
      say: (line) => said.push(line),
    }).catch((error) => {
      throw new Error(`${error}\n${said.join('\n')}`);
    });
    expect(figures.webhooks).toBeGreaterThan(300);
    const found = violations.map(({ kind, key }) => `${kind}: ${key}`);
    expect(found, said.join('\n')).toEqual([]);
  }, 240_000);
});
