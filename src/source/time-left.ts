/**
 * Deadlines of a server without PEXPIRETIME (Redis 6.2). PTTL returns only the remaining time. TIME before and after
 * it, in the same pipeline, makes the deadline exact: if both are in the same millisecond, so was PTTL. Webhook ids
 * depend on the deadline, so every reading must be equal. Pure.
 */

import type { Command } from '../redis/command.js';

/** Commands per key. */
const STRIDE = 2;

/** TIME, then PTTL and TIME for each key. */
export function timeLeftCommands(keys: readonly Buffer[]): readonly Command[] {
  return [['TIME'], ...keys.flatMap((key): Command[] => [['PTTL', key], ['TIME']])];
}

/** A key's remaining time, and the server's time before and after reading it. */
export interface TimeLeft {
  /** The reply of PTTL; negative: the key is missing, or has no deadline. */
  readonly leftMs: number;
  readonly beforeMs: number;
  readonly afterMs: number;
}

/** Parses the replies to `timeLeftCommands`, without errors among them, in the order of the keys. */
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

/** Whether the deadline is known to the millisecond, or there is none. */
export function isExact({ leftMs, beforeMs, afterMs }: TimeLeft): boolean {
  return leftMs < 0 || beforeMs === afterMs;
}

/** Converts a reply of TIME (seconds and microseconds) to whole milliseconds. */
function millisecondOf(answer: unknown): number {
  const [seconds = 0, micros = 0] = (answer as readonly Buffer[]).map(Number);
  return seconds * 1_000 + Math.floor(micros / 1_000);
}
