/**
 * The lateness of a webhook after its key's deadline, beside many other keys that will expire,
 * too: the relay, a plain subscriber on `expired` that POSTs by itself, and BullMQ's delayed jobs.
 * The three one after the other, at each size, on servers of their own with the same content.
 */
import { measureLateness } from './lib/lateness.mjs';
import { summaryMs } from './lib/percentiles.mjs';
import { startReceiver } from './lib/receiver.mjs';

const PER_SECOND = 200;
/** A plain subscriber receives most of its keys only much later: it is not waited for. */
const PATIENCE_MS = 20_000;

/**
 * @param {readonly string[]} args sizes, with commas; seconds; rounds; `tracked` when the other
 *   keys are to be such as the relay's route is about
 */
export async function lateness([
  sizes = '0,10000,100000,1000000',
  seconds = '10',
  rounds = '1',
  which,
]) {
  const count = PER_SECOND * Number(seconds);
  const areTracked = which === 'tracked';
  const receiver = await startReceiver();
  for (const otherKeys of sizes.split(',').map(Number)) {
    process.stdout.write(
      `${otherKeys} other volatile keys${areTracked ? ', tracked' : ''}; ` +
        `${PER_SECOND} keys a second for ${seconds} s; deadline → webhook received\n`,
    );
    for (let round = 1; round <= Number(rounds); round += 1) {
      for (const name of /** @type {const} */ (['relay', 'subscriber', 'bullmq'])) {
        const load = { otherKeys, areTracked, perSecond: PER_SECOND, count };
        const latenessesMs = await measureLateness(name, receiver, {
          ...load,
          patienceMs: PATIENCE_MS,
        });
        const came = latenessesMs.length;
        const within =
          came === count ? '' : ` within ${PATIENCE_MS / 1_000} s of the last deadline`;
        process.stdout.write(
          `  ${name.padEnd(10)} ${came} of ${count} arrived${within}: ${summaryMs(latenessesMs)}\n`,
        );
      }
    }
  }
  await receiver.stop();
}
