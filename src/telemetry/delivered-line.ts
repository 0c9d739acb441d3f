/**
 * The log line of an accepted webhook, written out: most lines of the log are this one. It is, byte for byte, the line
 * that the logger would write. Pure.
 */
import { isoTimes } from '../lib/iso-time.js';
import type { Claimed } from '../outbox/outbox.js';

const timeText = isoTimes();

/** Times in milliseconds since the Unix epoch, durations in milliseconds. */
export interface DeliveredFields {
  readonly nowMs: number;
  readonly status: number;
  readonly durationMs: number;
  readonly ageMs: number;
}

export function deliveredLine(
  { delivery, attempt }: Claimed,
  { nowMs, status, durationMs, ageMs }: DeliveredFields,
): string {
  const { id, route, endpoint, database, keyLabel, detectedBy, body } = delivery;
  return (
    `{"level":"info","time":"${timeText(nowMs)}","event":"attempt","id":"${id}",` +
    `"route":"${route}","endpoint":"${endpoint}","attempt":${attempt},"database":${database},` +
    `"key":${JSON.stringify(keyLabel)},"detected_by":"${detectedBy}","outcome":"accepted",` +
    `"status":${status},"disposition":"done","duration_ms":${durationMs},"age_ms":${ageMs},` +
    `"body_bytes":${body.length},"msg":"delivered"}\n`
  );
}
