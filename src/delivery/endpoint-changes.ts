/** What differs between two versions of an endpoint. Pure. */
import { isSameValue } from '../lib/same-value.js';
import type { Endpoint } from '../model/endpoint.js';

/** What proves to the endpoint who sends: files often hold it. */
const credentialsOf = ({ secrets, headers, tls }: Endpoint) => ({ secrets, headers, tls });

export function haveOtherCredentials(before: Endpoint, after: Endpoint): boolean {
  return !isSameValue(credentialsOf(before), credentialsOf(after));
}

/** Whether at most the credentials differ. */
export function isSameExceptCredentials(before: Endpoint, after: Endpoint): boolean {
  return isSameValue(before, { ...after, ...credentialsOf(before) });
}

/** Whether connections for the one version serve the other as well. `tls` is the same object if it is equal. */
export function isSameTarget(before: Endpoint, after: Endpoint): boolean {
  const targetOf = ({ url, proxy, timeoutMs, allowLinkLocal }: Endpoint) => ({
    ...{ origin: url.origin, proxy, timeoutMs, allowLinkLocal },
  });
  return before.tls === after.tls && isSameValue(targetOf(before), targetOf(after));
}
