import { describe, expect, it } from 'vitest';
import { isRefusedAddress } from '../../src/delivery/refused-addresses.js';

describe('a refused address', () => {
  it.each([
    ['link-local', '169.254.0.1'],
    ['the metadata of AWS, Google, Azure and others', '169.254.169.254'],
    ['the metadata of Alibaba Cloud', '100.100.100.200'],
    ["Azure's WireServer", '168.63.129.16'],
    ['Oracle Cloud Classic', '192.0.0.192'],
    ['link-local IPv6', 'fe80::1'],
    ['its last one', 'febf:ffff::1'],
    ['with a zone', 'fe80::a9fe:a9fe%eth0'],
    ['in brackets', '[fe80::1]'],
    ['AWS in IPv6', 'fd00:ec2::254'],
    ["AWS's pod identity", 'fd00:ec2::23'],
    ['Google in IPv6', 'fd20:ce::254'],
    ['Oracle in IPv6', 'fd00:c1::a9fe:a9fe'],
    ['Scaleway in IPv6', 'fd00:42::42'],
    ['Akamai in IPv6', 'fd00:a9fe:a9fe::1'],
    ['Alibaba in IPv6', 'fd00:100::100:200'],
    ['IPv4-mapped', '::ffff:169.254.169.254'],
    ['IPv4-mapped in hex', '::ffff:a9fe:a9fe'],
    ['IPv4-mapped, written out', '0:0:0:0:0:ffff:6464:64c8'],
    ['IPv4-compatible', '::169.254.169.254'],
    ['IPv4-translated', '::ffff:0:169.254.169.254'],
    ['NAT64', '64:ff9b::169.254.169.254'],
    ['NAT64, local', '64:ff9b:1::a9fe:a9fe'],
    ['6to4', '2002:a9fe:a9fe::1'],
    ['6to4 of a single address', '2002:6464:64c8:1::2'],
  ])('is %s: %s', (_, address) => {
    expect(isRefusedAddress(address)).toBe(true);
  });

  it.each([
    '127.0.0.1',
    '10.0.0.1',
    '192.168.1.1',
    '169.253.255.255',
    '169.255.0.0',
    '100.100.100.201',
    '168.63.129.17',
    '::1',
    'fec0::1',
    'fd00:ec3::254',
    'fd20:ce::255',
    '::ffff:10.0.0.1',
    '64:ff9b::10.0.0.1',
    '2002:a9fd::1',
    '2001:db8::a9fe:a9fe',
    'shop.example',
    '169.254.169.254.example',
    '',
  ])('is not %j', (host) => {
    expect(isRefusedAddress(host)).toBe(false);
  });

  it.each(['0xa9fea9fe', '2852039166', '0251.0376.0251.0376', '169.254.43518', '①⑥⑨.254.169.254'])(
    'is what a URL makes of %s',
    (host) => {
      expect(isRefusedAddress(new URL(`http://${host}/`).hostname)).toBe(true);
    },
  );
});
