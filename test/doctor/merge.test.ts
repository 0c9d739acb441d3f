import { describe, expect, it } from 'vitest';
import { mergeFindings } from '../../src/doctor/merge.js';
import { ok, warning } from '../../src/server/finding.js';

const [A, B] = ['10.0.0.1:6379', '10.0.0.2:6379'];

describe('the findings about several primaries', () => {
  it('are said once if they hold for all', () => {
    const findings = [ok('role', 'primary'), warning('eviction', 'on', 'turn it off')];
    expect(mergeFindings([A, B].map((address = '') => ({ address, findings })))).toEqual(findings);
  });

  it('name the server if they do not, and stay together by subject', () => {
    const merged = mergeFindings([
      {
        address: A ?? '',
        findings: [ok('redis', `${A} responds`), ok('clock', 'near'), ok('role', 'primary')],
      },
      {
        address: B ?? '',
        findings: [
          ok('redis', `${B} responds`),
          warning('clock', 'far', 'set it'),
          ok('role', 'primary'),
        ],
      },
    ]);
    expect(merged).toEqual([
      ok('redis', `${A} responds`),
      ok('redis', `${B} responds`),
      ok('clock', `${A}: near`),
      warning('clock', `${B}: far`, 'set it'),
      ok('role', 'primary'),
    ]);
  });

  it('of one server stay as they are', () => {
    const findings = [ok('database 0', 'empty'), ok('lateness', 'a'), ok('database 0', 'full')];
    expect(mergeFindings([{ address: A ?? '', findings }])).toEqual(findings);
  });
});
