import { describe, expect, it } from 'vitest';
import { uncoveredIn, viewOf } from '../../../src/redis/cluster/nodes.js';

const ASKED = { host: '10.0.0.9', port: 7000 };
const OK = 'cluster_state:ok\r\ncluster_slots_assigned:16384\r\n';

/** A line of CLUSTER NODES. */
const node = (
  id: string,
  { at = '10.0.0.1:6379@16379', flags = 'master', of = '-', epoch = 1, slots = '' },
) => `${id} ${at} ${flags} ${of} 0 0 ${epoch} connected ${slots}`.trimEnd();

describe('what a node reports of its cluster', () => {
  it('names the primaries that have slots, by their first slot, with their replicas', () => {
    const nodes = [
      node('b', { at: '10.0.0.2:6379@16379', slots: '8192-16383', epoch: 5 }),
      node('c', { at: '10.0.0.3:6379@16379', flags: 'slave', of: 'a' }),
      node('a', { flags: 'myself,master', slots: '0-8000 8001-8191' }),
      node('empty', {}),
      node('new', { flags: 'master,handshake', slots: '3' }),
    ].join('\n');
    const view = viewOf(nodes, OK, ASKED);
    expect(view).toMatchObject({ isOk: true, epoch: 5 });
    expect(view.primaries).toEqual([
      {
        id: 'a',
        address: { host: '10.0.0.1', port: 6379 },
        epoch: 1,
        slots: [
          [0, 8000],
          [8001, 8191],
        ],
        replicas: [{ id: 'c', address: { host: '10.0.0.3', port: 6379 } }],
      },
      {
        id: 'b',
        address: { host: '10.0.0.2', port: 6379 },
        epoch: 5,
        slots: [[8192, 16383]],
        replicas: [],
      },
    ]);
    expect(uncoveredIn(view)).toBe(0);
  });

  it('leaves a slot to its primary until the move is over', () => {
    const nodes = node('a', { slots: '0-99 [42->-b] [77-<-b]' });
    const [primary] = viewOf(nodes, OK, ASKED).primaries;
    expect(primary?.slots).toEqual([[0, 99]]);
  });

  it('counts the slots that no primary has', () => {
    const nodes = `${node('a', { slots: '0-99 200' })}\n${node('b', { slots: '16383' })}`;
    expect(uncoveredIn(viewOf(nodes, OK, ASKED))).toBe(16_384 - 102);
  });

  it('is not believed while the node does not reach the majority', () => {
    const nodes = node('a', { slots: '0-16383' });
    expect(viewOf(nodes, 'cluster_state:fail\r\n', ASKED).isOk).toBe(false);
    expect(viewOf(nodes, '', ASKED).isOk).toBe(false);
  });

  it.each([
    ['an IPv4 address', '10.0.0.1:6379@16379', { host: '10.0.0.1', port: 6379 }],
    ['an IPv6 address', 'fd00::1:6379@16379', { host: 'fd00::1', port: 6379 }],
    ['a version without a bus port', '10.0.0.1:6379', { host: '10.0.0.1', port: 6379 }],
    ['a host name', '10.0.0.1:6379@16379,redis-0.example', { host: 'redis-0.example', port: 6379 }],
    [
      'auxiliary fields alone',
      '10.0.0.1:6379@16379,,tls-port=0,shard-id=ab',
      { host: '10.0.0.1', port: 6379 },
    ],
    ['no address of its own', ':6379@16379', { host: ASKED.host, port: 6379 }],
  ])('has %s', (_, at, address) => {
    const [primary] = viewOf(node('a', { at, slots: '0-16383' }), OK, ASKED).primaries;
    expect(primary?.address).toEqual(address);
  });
});
