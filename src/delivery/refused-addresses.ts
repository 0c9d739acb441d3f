/**
 * Where no webhook belongs: addresses of the own link, and those at which clouds hand out the
 * machine's credentials. Pure. Sources: RFC 3927, RFC 4291 and the clouds' documentation.
 */
import { BlockList, isIP, isIPv4 } from 'node:net';

/** An address, and how many of its bits count. */
type Subnet = readonly [address: string, bits: number];

const REFUSED_IPV4: readonly Subnet[] = [
  // Link-local, with the metadata of AWS, Google, Azure, Oracle, DigitalOcean, OpenStack and others.
  ['169.254.0.0', 16],
  // Alibaba Cloud.
  ['100.100.100.200', 32],
  // Azure's WireServer.
  ['168.63.129.16', 32],
  // Oracle Cloud Classic.
  ['192.0.0.192', 32],
];

const REFUSED_IPV6: readonly Subnet[] = [
  // Link-local.
  ['fe80::', 10],
  // AWS: metadata at ::254, pod identity at ::23.
  ['fd00:ec2::', 32],
  // Google Cloud, machines with IPv6 alone.
  ['fd20:ce::254', 128],
  // Oracle Cloud.
  ['fd00:c1::a9fe:a9fe', 128],
  // Scaleway.
  ['fd00:42::42', 128],
  // Akamai (Linode).
  ['fd00:a9fe:a9fe::1', 128],
  // Alibaba Cloud.
  ['fd00:100::100:200', 128],
];

/** Ways of writing an IPv4 address as an IPv6 one: what stands before it, and its first bit. */
const EMBEDDINGS: readonly (readonly [before: string, after: string, firstBit: number])[] = [
  // IPv4-mapped (RFC 4291), and the obsolete IPv4-compatible form.
  ['::ffff:', '', 96],
  ['::', '', 96],
  // IPv4-translated (RFC 2765).
  ['::ffff:0:', '', 96],
  // NAT64 (RFC 6052, RFC 8215).
  ['64:ff9b::', '', 96],
  ['64:ff9b:1::', '', 96],
  // 6to4 (RFC 3056).
  ['2002:', '::', 16],
];

/** `169.254.0.0` → `a9fe:0`. */
function inHex(ipv4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split('.').map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

const refused = new BlockList();
for (const [address, bits] of REFUSED_IPV6) refused.addSubnet(address, bits, 'ipv6');
for (const [address, bits] of REFUSED_IPV4) {
  refused.addSubnet(address, bits, 'ipv4');
  for (const [before, after, firstBit] of EMBEDDINGS) {
    refused.addSubnet(`${before}${inHex(address)}${after}`, firstBit + bits, 'ipv6');
  }
}

/**
 * Whether it is such an address. A name is none: what it leads to is looked at when it is known.
 * IPv6 with or without brackets and a zone.
 */
export function isRefusedAddress(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  if (isIP(address) === 0) return false;
  return refused.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}
