/** The protection of the API on the admin port → advice. Pure. */
import { isClosed } from '../admin/access.js';
import type { Settings } from '../model/vocabulary.js';
import { type Finding, warning } from '../server/finding.js';

/** None if the API is disabled, protected, or out of reach of other machines. */
export function judgeApi({ listen, page }: Settings['admin']): readonly Finding[] {
  if (!page.enabled || !isClosed(page, listen)) return [];
  return [
    warning(
      'admin api',
      'closed (403): other machines can reach admin.listen, and admin.page has no login',
      'set admin.page.username and admin.page.password_file, or admin.page.enabled: false; probes and metrics are served',
    ),
  ];
}
