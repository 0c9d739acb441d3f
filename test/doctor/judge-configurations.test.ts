import { expect, it } from 'vitest';
import { judgeConfigurations } from '../../src/doctor/judge-configurations.js';

const running = (number: number, digest: string) => ({ number, digest });

it('finds no problem when the running replicas use the configuration of the file', () => {
  const finding = judgeConfigurations([running(2, 'a'), running(2, 'a')], 'a', 'expiry-relay');
  expect(finding).toMatchObject({ level: 'ok' });
});

it('warns of several configurations, and names the replicas that capture nothing', () => {
  const replicas = [running(1, 'a'), running(2, 'b'), running(1, 'a')];
  const finding = judgeConfigurations(replicas, 'b', 'expiry-relay');
  expect(finding).toMatchObject({ level: 'warning' });
  expect(finding.text).toBe(
    '2 different configurations share state.prefix "expiry-relay": only replicas with the newest ' +
      'capture; 2 replicas are superseded',
  );
});

it('warns when the running replicas use another configuration than the file', () => {
  const finding = judgeConfigurations([running(1, 'a')], 'b', 'expiry-relay');
  expect(finding).toMatchObject({ level: 'warning' });
  expect(finding.text).toContain('another configuration than this file');
});
