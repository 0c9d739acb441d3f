/** The queue between the source, which must never wait, and the processing of key events. */
import type { Clock } from '../lib/clock.js';
import type { ExpiredEvent, KeyEvent, Route } from '../model/vocabulary.js';
import { asksForValues } from '../routing/routes.js';
import { type Entry, KeyedQueue } from './keyed-queue.js';

/** An expiration, and the routes that match its key: at least one. */
export interface RoutedExpiration extends ExpiredEvent {
  readonly routes: readonly Route[];
  /** The deadline had changed, and the key was missing when it was read: the index has an older deadline. */
  readonly isOutdated?: boolean;
}

export type QueuedEvent = RoutedExpiration | Exclude<KeyEvent, ExpiredEvent>;

/**
 * The consumers of the queue. Beyond the order of each key, plain expirations wait neither for changes nor for
 * expirations whose webhooks carry values, which have to be read.
 */
export type EventConsumer = 'plain' | 'carrying' | 'changes';

export type EventQueue = KeyedQueue<EventConsumer, QueuedEvent>;
export type QueuedEntry = Entry<QueuedEvent>;

export function createEventQueue(clock: Clock): EventQueue {
  const consumers = ['plain', 'carrying', 'changes'] as const;
  return new KeyedQueue({ consumers, consumerOf, coalesce, clock });
}

function consumerOf(event: QueuedEvent): EventConsumer {
  if (event.kind !== 'expired') return 'changes';
  return event.routes.some(asksForValues) ? 'carrying' : 'plain';
}

/** Merges changes of a key. The deadline is read once for several changes, and not at all if a removal follows. */
function coalesce(waiting: QueuedEvent, next: QueuedEvent): QueuedEvent | null {
  if (waiting.kind !== 'changed' && waiting.kind !== 'removed') return null;
  if (next.kind === 'removed') return next;
  if (next.kind !== 'changed') return null;
  const followsRemoval = waiting.kind === 'removed' || waiting.followsRemoval === true;
  // The relay's own request to read the deadline has no place in the sequence; the published change keeps its place.
  const { interval = waiting.interval } = next;
  const { isHint, ...change } = next;
  const areHints = isHint === true && waiting.kind === 'changed' && waiting.isHint === true;
  return {
    ...change,
    ...(areHints ? { isHint } : {}),
    ...(interval === undefined ? {} : { interval }),
    ...(followsRemoval ? { followsRemoval } : {}),
  };
}
