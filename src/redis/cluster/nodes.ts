/** What a node of a Redis Cluster reports of all nodes: CLUSTER NODES and CLUSTER INFO. Pure. */
import type { HostPort } from '../../model/redis-login.js';
import { SLOTS, type SlotRange } from '../slots.js';

/** A node that serves slots, or can. */
export interface PrimaryNode {
  readonly id: string;
  /** As the node announces it. */
  readonly address: HostPort;
  /** Increases each time that the node takes slots over. */
  readonly epoch: number;
  readonly slots: readonly SlotRange[];
  readonly replicas: readonly ReplicaNode[];
}

export interface ReplicaNode {
  readonly id: string;
  /** As the node announces it. */
  readonly address: HostPort;
}

/** The cluster, as one node sees it. */
export interface View {
  /** Whether the node is connected to the majority of the primaries. */
  readonly isOk: boolean;
  /** The highest epoch of a primary: an older view has a lower one. */
  readonly epoch: number;
  /** The primaries that have slots, by the first of them. */
  readonly primaries: readonly PrimaryNode[];
}

/** `asked`: where the node was asked. A node that does not know its own address reports none. */
export function viewOf(nodes: string, info: string, asked: HostPort): View {
  const lines = nodes.split('\n').filter((line) => line.trim() !== '');
  const all = lines.map((line) => line.trim().split(' '));
  const primaries = all.flatMap((fields): PrimaryNode[] => {
    const [id = '', address = '', flags = '', , , , epoch = '0', , ...ranges] = fields;
    const words = flags.split(',');
    if (!words.includes('master') || words.includes('handshake')) return [];
    const slots = ranges.flatMap(rangeOf);
    if (slots.length === 0) return [];
    const replicas = all.flatMap(([other = '', place = '', , primary]) =>
      primary === id ? { id: other, address: hostPortOf(place, asked) } : [],
    );
    return [{ id, address: hostPortOf(address, asked), epoch: Number(epoch), slots, replicas }];
  });
  return {
    isOk: /^cluster_state:ok/m.test(info),
    epoch: Math.max(0, ...primaries.map(({ epoch }) => epoch)),
    primaries: primaries.sort((one, other) => firstOf(one) - firstOf(other)),
  };
}

/** The first slot of a primary. */
export function firstOf({ slots }: PrimaryNode): number {
  return Math.min(...slots.map(([from]) => from));
}

/** The number of slots that no primary has. */
export function uncoveredIn({ primaries }: View): number {
  const ranges = primaries.flatMap(({ slots }) => slots);
  return ranges.reduce((left, [from, to]) => left - (to - from + 1), SLOTS);
}

/** Such as `0-5460` or `7000`. A slot that is about to move is in brackets, beside the ranges. */
function rangeOf(text: string): SlotRange[] {
  const [, from, to = from] = /^(\d+)(?:-(\d+))?$/.exec(text) ?? [];
  return from === undefined ? [] : [[Number(from), Number(to)]];
}

/** Of `host:port@bus`, or of `host:port@bus,hostname`: the host name is preferred where there is one. */
function hostPortOf(text: string, asked: HostPort): HostPort {
  const [place = '', hostname = ''] = text.split(',');
  const [, host = '', port = ''] = /^(.*):(\d+)(?:@\d+)?$/.exec(place) ?? [];
  const name = hostname === '' || hostname.includes('=') ? host : hostname;
  return { host: name === '' ? asked.host : name, port: Number(port) };
}
