/**
 * Deadlines of a server without PEXPIRETIME (Redis 6.2): PTTL tells only how long a key has left. Its
 * time before and after that, in the same pipeline, makes the deadline exact: where both are in the
 * same millisecond, so was PTTL. An id is made from the deadline, so every reading has to be the same.
 * Pure.
 */

import type { Command } from '../redis/command.js';

/** So many commands are given for each key. */
const STRIDE = 2;

/** TIME, and for each key PTTL and TIME. */
export function timeLeftCommands(keys: readonly Buffer[]): readonly Command[] {
  return [['TIME'], ...keys.flatMap((key): Command[] => [['PTTL', key], ['TIME']])];
}

/** How long a key has left, and the server's time before and after that was asked for. */
export interface TimeLeft {
  /** The answer of PTTL; less than 0 where the key is gone, or has no deadline. */
  readonly leftMs: number;
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** From the answers to `timeLeftCommands`, none of them an error, in the order of the keys. */
export function timeLeftOf(answers: readonly unknown[]): TimeLeft[] {
  const left: TimeLeft[] = [];
  for (let at = 0; at + STRIDE < answers.length; at += STRIDE) {
    left.push({
      leftMs: Number(answers[at + 1]),
      beforeMs: millisecondOf(answers[at]),
      afterMs: millisecondOf(answers[at + STRIDE]),
    });
  }
  return left;
}

/** Whether it tells the deadline to the millisecond, or that there is none. */
export function isExact({ leftMs, beforeMs, afterMs }: TimeLeft): boolean {
  return leftMs < 0 || beforeMs === afterMs;
}

/** The millisecond that an answer of TIME is in: seconds, and microseconds beyond them. */
function millisecondOf(answer: unknown): number {
  const [seconds = 0, micros = 0] = (answer as readonly Buffer[]).map(Number);
  return seconds * 1_000 + Math.floor(micros / 1_000);
}
