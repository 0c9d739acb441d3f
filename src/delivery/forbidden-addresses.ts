/**
 * Addresses that never receive webhooks: link-local ones, and those where clouds serve the machine's credentials. Pure.
 * Sources: RFC 3927, RFC 4291 and the clouds' documentation.
 */
import { BlockList, isIP } from 'node:net';

/** An address and the length of its prefix in bits. */
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

const refused = new BlockList();
for (const [address, bits] of REFUSED_IPV4) refused.addSubnet(address, bits, 'ipv4');
for (const [address, bits] of REFUSED_IPV6) refused.addSubnet(address, bits, 'ipv6');

/** The positions of an IPv4 address's four bytes in an IPv6 address. */
type Places = readonly [number, number, number, number];

/**
 * Positions after a prefix of 32, 40, 48, 56 and 64 bits (RFC 6052, section 2.2). Byte 8 and all bytes after the
 * address are always zero.
 */
const TRANSLATED: readonly Places[] = [
  [4, 5, 6, 7],
  [5, 6, 7, 9],
  [6, 7, 9, 10],
  [7, 9, 10, 11],
  [9, 10, 11, 12],
];
const LAST: Places = [12, 13, 14, 15];

/** 96-bit prefixes of an IPv4 address. */
const BEFORE_LAST: readonly (readonly number[])[] = [
  // IPv4-mapped (RFC 4291), the obsolete IPv4-compatible form, and IPv4-translated (RFC 2765).
  [0, 0, 0, 0, 0, 0xffff],
  [0, 0, 0, 0, 0, 0],
  [0, 0, 0, 0, 0xffff, 0],
];

/** NAT64: the well-known prefix (RFC 6052) and the local-use ones, of any length (RFC 8215). */
const NAT64: readonly number[] = [0x64, 0xff9b];

/** The first half of an ISATAP interface identifier (RFC 5214). */
const ISATAP: readonly number[] = [0x0000_5efe, 0x0200_5efe];

/** The bytes of a valid IPv6 address. */
function bytesOf(address: string): Buffer {
  // `URL` normalizes the address: no dotted part.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = [], tail = []] = text.split('::').map((half) => half.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0');
  const groups = [...head, ...zeros, ...tail].map((group) => group.padStart(4, '0'));
  return Buffer.from(groups.join(''), 'hex');
}

/**
 * The IPv4 addresses that an IPv6 address reaches through a translator or tunnel. An operator's own NAT64 prefix is
 * recognized only by the zeros around the address: with a length of 96 bits it looks like any other address.
 */
function embeddedIn(bytes: Buffer): string[] {
  const startsWith = (groups: readonly number[]) =>
    groups.every((group, at) => bytes.readUInt16BE(2 * at) === group);
  const isZero = (byte: number | undefined) => byte === 0;
  const isNat64 = startsWith(NAT64);
  const places = TRANSLATED.filter(
    ([, , , last]) => isNat64 || (isZero(bytes[8]) && bytes.subarray(last + 1).every(isZero)),
  );
  const isLast = isNat64 || BEFORE_LAST.some(startsWith) || ISATAP.includes(bytes.readUInt32BE(8));
  if (isLast) places.push(LAST);
  const found = places.map((four) => four.map((at) => bytes[at]).join('.'));
  // 6to4 (RFC 3056).
  if (startsWith([0x2002])) found.push(bytes.subarray(2, 6).join('.'));
  // Teredo (RFC 4380): its server, and its client with every bit inverted.
  if (startsWith([0x2001, 0])) {
    const client = bytes.subarray(12).map((byte) => byte ^ 0xff);
    found.push(bytes.subarray(4, 8).join('.'), client.join('.'));
  }
  return found;
}

/**
 * Whether a host is a forbidden address, in IPv6 with or without brackets and zone. Host names are not forbidden here:
 * their addresses are checked after the DNS lookup.
 */
export function isForbiddenAddress(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1').replace(/%.*$/, '');
  switch (isIP(address)) {
    case 0:
      return false;
    case 4:
      return refused.check(address, 'ipv4');
    default:
      return (
        refused.check(address, 'ipv6') ||
        embeddedIn(bytesOf(address)).some((one) => refused.check(one, 'ipv4'))
      );
  }
}
