/** A server of another make or version, for tests of what only it can do. */
import type { TestContext } from 'vitest';
import { otherServer } from '../../scripts/lib/other-servers.mjs';

/** The path of its executable. Where it cannot be had, the test is skipped, and says why. */
export function otherServerFor({ skip }: Pick<TestContext, 'skip'>, name: string): string {
  try {
    return otherServer(name);
  } catch (error) {
    return skip(
      `${name} is unavailable: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
