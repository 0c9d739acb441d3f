/** Serializes deliveries and dead letters, in the format that format.ts describes. */
import { escapeUnprintable, LABEL_CHARS_MAX } from '../lib/printable.js';
import { type ContentType, METHODS } from '../model/body-format.js';
import type {
  DeadLetter,
  DeadReason,
  Delivery,
  DetectedBy,
  RecordedAttempt,
} from '../model/vocabulary.js';
import { HISTORY_MAX } from './format.js';
import {
  FILLED_PATH,
  ID,
  isOneOf,
  isTime,
  isWhole,
  NAME,
  readObject,
  type StoredObject,
  UnreadableError,
} from './stored.js';

/** Defaults, which are omitted from stored deliveries. */
const DEFAULT_METHOD = 'POST';
const DEFAULT_CONTENT_TYPE = 'application/json';

/** Words that are only displayed: a newer relay that shares the state may use others. */
const WORD = /^[a-z_]{1,64}$/;
/** The outcome of an attempt, in short; the same as in HISTORY (outbox/scripts/fragments.ts). */
const OUTCOME = /^[A-Za-z0-9_ ]{1,64}$/;
const HEADER_TEXT = /^[\x21-\x7e]([\x20-\x7e]{0,126}[\x21-\x7e])?$/;

/** The line of JSON before the body. It is written out, since it is built for every webhook of a burst. */
export function packHead(delivery: Delivery): string {
  const { id, endpoint, route, path, method, contentType, keyLabel } = delivery;
  const { database, expiredAtMs, detectedAtMs, detectedBy } = delivery;
  return (
    `{"id":"${id}","endpoint":"${endpoint}","route":"${route}","path":${JSON.stringify(path)},` +
    (method === DEFAULT_METHOD ? '' : `"method":"${method}",`) +
    (contentType === DEFAULT_CONTENT_TYPE ? '' : `"content_type":${JSON.stringify(contentType)},`) +
    `"key":${JSON.stringify(keyLabel)},"database":${database},"expired_at_ms":${expiredAtMs},` +
    `"detected_at_ms":${detectedAtMs},"detected_by":"${detectedBy}"}\n`
  );
}

/** The location of a delivery or dead letter. Its contents must match. */
export interface Place {
  readonly endpoint: string;
  readonly id: string;
}

const OWN_ID = 'the id that it is stored under';
const OWN_ENDPOINT = 'the endpoint that it is stored for';

/** Throws an UnreadableError for foreign data (written by no relay). */
export function unpackDelivery(packed: Buffer, { endpoint, id }: Place): Delivery {
  const { head, rest } = splitLine(packed);
  if (head.get('id', isId, OWN_ID) !== id) {
    throw new UnreadableError(`"id" is not ${OWN_ID}`);
  }
  if (head.get('endpoint', isString, OWN_ENDPOINT) !== endpoint) {
    throw new UnreadableError(`"endpoint" is not ${OWN_ENDPOINT}`);
  }
  return {
    id,
    endpoint,
    route: head.get('route', isName, 'the name of a route'),
    path: head.get('path', isPath, 'a path'),
    method: head.get('method', isMethod, METHODS.join(', '), DEFAULT_METHOD),
    contentType: head.get(
      'content_type',
      isContentType,
      'a content type or null',
      DEFAULT_CONTENT_TYPE,
    ),
    body: rest,
    keyLabel: head.get('key', isLabel, 'the label of a key'),
    database: head.get('database', isWhole, 'a whole number'),
    expiredAtMs: head.get('expired_at_ms', isTimeOrNull, 'a time or null'),
    detectedAtMs: head.get('detected_at_ms', isTime, 'a time'),
    detectedBy: head.get('detected_by', isDetectedBy, 'a word'),
  };
}

/**
 * Parses a dead letter, as packed inside Redis by outbox/scripts/fragments.ts. Throws an UnreadableError for foreign
 * data.
 */
export function unpackDeadLetter(packed: Buffer, place: Place): DeadLetter {
  const { head, rest } = splitLine(packed);
  return {
    reason: head.get('reason', isText<DeadReason>(WORD), 'a word'),
    attempts: head.get('attempts', isWhole, 'a whole number'),
    lastOutcome: currentOutcome(head.get('last_outcome', orNull(isString), 'a text or null')),
    diedAtMs: head.get('died_at_ms', isTime, 'a time'),
    history: readHistory(head.get('history', isAnything, 'anything', [])),
    delivery: unpackDelivery(rest, place),
  };
}

/** Leaves out attempts that no relay has written: a damaged history must not cost the dead letter. */
function readHistory(stored: unknown): readonly RecordedAttempt[] {
  const attempts = (Array.isArray(stored) ? stored : []).flatMap((item: unknown) => {
    const [startedAtMs, durationMs, outcome]: unknown[] = Array.isArray(item) ? item : [];
    const isRecorded = isTime(startedAtMs) && isWhole(durationMs) && isOutcome(outcome);
    return isRecorded ? [{ startedAtMs, durationMs, outcome }] : [];
  });
  return attempts.slice(-HISTORY_MAX);
}

/** The names of outcomes in version 0.1, and the current ones. */
const RENAMED_OUTCOMES = [
  [/^answered (?=\d)/, 'HTTP '],
  [/^refused_address(?=:)/, 'forbidden_address'],
] as const;

function currentOutcome(stored: string | null): string | null {
  return RENAMED_OUTCOMES.reduce<string | null>(
    (text, [former, current]) => text?.replace(former, current) ?? null,
    stored,
  );
}

const LINE_FEED = 0x0a;

/** The first line, parsed as JSON, and the rest. */
function splitLine(packed: Buffer): { readonly head: StoredObject; readonly rest: Buffer } {
  const end = packed.indexOf(LINE_FEED);
  if (end === -1) throw new UnreadableError('expected a line of JSON and a body, found one line');
  return { head: readObject(packed.subarray(0, end)), rest: packed.subarray(end + 1) };
}

const isAnything = (_: unknown): _ is unknown => true;

const isString = (value: unknown): value is string => typeof value === 'string';

/** A label grows by escapes of at most ten characters each. */
const isLabel = (value: unknown): value is string =>
  isString(value) &&
  value.length <= 11 * LABEL_CHARS_MAX &&
  escapeUnprintable(value, value.length) === value;

const isText =
  <Text extends string>(pattern: RegExp) =>
  (value: unknown): value is Text =>
    isString(value) && pattern.test(value);

const isOutcome = isText<string>(OUTCOME);

const orNull =
  <Value>(is: (value: unknown) => value is Value) =>
  (value: unknown): value is Value | null =>
    value === null || is(value);

const isId = isText<string>(ID);
const isName = isText<string>(NAME);
const isPath = isText<string>(FILLED_PATH);
const isMethod = isOneOf(METHODS);
const isContentType = orNull(isText<ContentType>(HEADER_TEXT));
const isTimeOrNull = orNull(isTime);
const isDetectedBy = isText<DetectedBy>(WORD);
