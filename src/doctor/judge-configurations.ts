/** Checks that all replicas with one prefix have the same configuration. Pure. */
import { pluralize } from '../lib/pluralize.js';
import { type Finding, ok, warning } from '../server/finding.js';

export interface RunningReplica {
  readonly digest: string;
  /** Newer configurations have higher numbers. */
  readonly number: number;
}

/** `running` is not empty; `own`: the digest of the configuration being checked. */
export function judgeConfigurations(
  running: readonly RunningReplica[],
  own: string,
  prefix: string,
): Finding {
  const subject = 'configuration';
  const digests = new Set(running.map(({ digest }) => digest));
  const newest = running.reduce((one, other) => (other.number > one.number ? other : one));
  if (digests.size > 1) {
    const superseded = running.filter(({ number }) => number < newest.number).length;
    return warning(
      subject,
      `${digests.size} different configurations share state.prefix "${prefix}": only replicas ` +
        `with the newest capture; ${pluralize(superseded, 'replica')} ` +
        `${superseded === 1 ? 'is' : 'are'} superseded`,
      'expected during a rolling update; otherwise set another state.prefix in each configuration',
    );
  }
  if (newest.digest !== own) {
    return warning(
      subject,
      'the running replicas use another configuration than this file: routes, databases, or ' +
        'endpoint names and URLs differ',
      'restart them with this file; if the file is for another application, set another state.prefix',
    );
  }
  return ok(subject, 'the running replicas use this configuration');
}
