/**
 * Whether a server allows a command. A command may be forbidden to the user (NOPERM), renamed, or missing: managed
 * services and servers other than Redis lack ROLE, CONFIG or TIME, and word their errors differently. Therefore every
 * error counts as a refusal unless it is known to mean something else.
 */
import { messageOf } from '../model/errors.js';

/** Whether the server replied with an error, so that the connection is intact. Pure. */
export function isReply(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.name === 'ReplyError';
}

/** Errors about the server's condition or the login, whatever the command. */
const OTHERWISE =
  /^-?(NOAUTH|WRONGPASS|DENIED|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|READONLY|MISCONF|NOREPLICAS|OOM|TRYAGAIN|MOVED|ASK|WRONGTYPE)\b/;

/** Whether the server, or its ACL for this user, does not allow the command. Pure. */
export function isRefusal(thrown: unknown): boolean {
  return isReply(thrown) && !OTHERWISE.test(messageOf(thrown));
}

/** The wording of Redis, its scripts, Envoy, and other proxies. */
const UNKNOWN_COMMAND =
  /\bunknown (redis )?(sub)?command\b|\b(unsupported|disallowed) command\b|command .*not (supported|allowed)/i;

/** Whether the server lacks the command, also within a script: no ACL rule can allow it. Pure. */
export function isUnknownCommand(thrown: unknown): boolean {
  return isReply(thrown) && UNKNOWN_COMMAND.test(messageOf(thrown));
}

/** Whether an ACL forbids the command or its key to this user. Pure. */
export function isForbidden(thrown: unknown): boolean {
  return messageOf(thrown).startsWith('NOPERM');
}

/** Resolves with null when the server does not allow the command; rejects with any other error. */
export async function unlessRefused<Reply>(reply: Promise<Reply>): Promise<Reply | null> {
  try {
    return await reply;
  } catch (error) {
    if (isRefusal(error)) return null;
    throw error;
  }
}

/** Whether a key has the wrong type for the command, also within a script. Pure. */
export function isOtherType(refusal: unknown): boolean {
  return /\bWRONGTYPE\b/.test(messageOf(refusal));
}

/** A node of a cluster has only database 0, and uses another error message. */
export function isNoDatabase(refusal: unknown): boolean {
  return /DB index is out of range|SELECT is not allowed in cluster/i.test(messageOf(refusal));
}

/** Whether another node of the Redis Cluster serves the key now, or none does. */
export function isAway(refusal: unknown): boolean {
  return /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN)\b/.test(messageOf(refusal));
}

/** Whether another node of the Redis Cluster has the key. */
export function isElsewhere(refusal: unknown): boolean {
  return /^(MOVED|ASK) /.test(messageOf(refusal));
}
