// cspell:ignore febf fffe
import { describe, expect, it } from 'vitest';
import { isForbiddenAddress } from '../../src/delivery/forbidden-addresses.js';

describe('a forbidden address', () => {
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
    ['NAT64, local, with a prefix of 48 bits', '64:ff9b:1:a9fe:a9:fe00::'],
    ['NAT64, local, with a prefix of 56 bits', '64:ff9b:1:a9:fe:a9fe::'],
    ['NAT64, local, with a prefix of 64 bits', '64:ff9b:1:7:a9:fea9:fe00:0'],
    ['NAT64, local, with a prefix of 96 bits', '64:ff9b:1:7:8:9:a9fe:a9fe'],
    ['NAT64, with bits behind the address', '64:ff9b:1:a9fe:a9:fe00:0:7'],
    ['NAT64, with a prefix of 32 bits of its own', '2001:db8:a9fe:a9fe::'],
    ['NAT64, with a prefix of 40 bits of its own', '2001:db8:1a9:fea9:fe::'],
    ['NAT64, with a prefix of 48 bits of its own', '2001:db8:122:a9fe:a9:fe00::'],
    ['NAT64, with a prefix of 56 bits of its own', '2001:db8:122:3a9:fe:a9fe::'],
    ['NAT64, with a prefix of 64 bits of its own', '2001:db8:122:344:a9:fea9:fe00:0'],
    ['NAT64 of a single address', '2001:db8:122:344:64:6464:c800:0'],
    ['ISATAP', '2001:db8::5efe:169.254.169.254'],
    ['ISATAP of a global address', '2001:db8::200:5efe:6464:64c8'],
    ['Teredo, by its server', '2001:0:a9fe:a9fe:8000:f227:f5ff:fffe'],
    ['Teredo, by its client', '2001:0:4136:e378:8000:63bf:5601:5601'],
    ['6to4', '2002:a9fe:a9fe::1'],
    ['6to4 of a single address', '2002:6464:64c8:1::2'],
  ])('is %s: %s', (_, address) => {
    expect(isForbiddenAddress(address)).toBe(true);
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
    '64:ff9b:1:a00:0:100::',
    '64:ff9b:1:7:a:0:100:0',
    '2001:db8:a9fe:a9fe::1',
    '2001:db8:122:344:a9:fea9:fe00:1',
    '2001:db8:122:344:1a9:fea9:fe00:0',
    '2001:db8::5efe:10.0.0.1',
    '2001:db8::100:5efe:a9fe:a9fe',
    '2001:0:4136:e378:8000:63bf:3fff:fdd2',
    '2001:1:a9fe:a9fe::1',
    '::',
    '::ffff:0:10.0.0.1',
    'shop.example',
    '169.254.169.254.example',
    '',
  ])('is not %j', (host) => {
    expect(isForbiddenAddress(host)).toBe(false);
  });

  it.each([
    '0xa9fea9fe',
    '2852039166',
    '0251.0376.0251.0376',
    '169.254.43518',
    '①⑥⑨.254.169.254',
    '169.254.169.254.',
    '169.254.169.254%2e',
    '[64:ff9b:1:a9fe:a9:fe00::]',
  ])('is recognized in the normalized URL of %s', (host) => {
    expect(isForbiddenAddress(new URL(`http://${host}/`).hostname)).toBe(true);
  });
});
