/**
 * The ed25519 keys of Standard Webhooks' `v1a` scheme, as bytes and as Node crypto keys. Pure. Source: RFC 8410 for
 * the DER encoding around the 32 bytes of each key.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';

export const PRIVATE_KEY_PREFIX = 'whsk_';
export const PUBLIC_KEY_PREFIX = 'whpk_';

/** Length of a private key's seed. */
export const SEED_BYTES = 32;
export const PUBLIC_KEY_BYTES = 32;

const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_HEAD = Buffer.from('302a300506032b6570032100', 'hex');

export function privateKeyOf(seed: Uint8Array): KeyObject {
  const key = Buffer.concat([PKCS8_HEAD, seed]);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

export function publicKeyOf(bytes: Uint8Array): KeyObject {
  const key = Buffer.concat([SPKI_HEAD, bytes]);
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

/** The public key's bytes, from a private or a public key. */
export function publicBytesOf(key: KeyObject): Buffer {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(SPKI_HEAD.length);
}

export function publicKeyText(key: KeyObject): string {
  return PUBLIC_KEY_PREFIX + publicBytesOf(key).toString('base64');
}

/** A new key pair as strings. `privateKey` holds the seed and the public key, as is common. */
export function newKeyPair(): { readonly privateKey: string; readonly publicKey: string } {
  const { privateKey } = generateKeyPairSync('ed25519');
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(PKCS8_HEAD.length);
  const both = Buffer.concat([seed, publicBytesOf(privateKey)]);
  return {
    privateKey: PRIVATE_KEY_PREFIX + both.toString('base64'),
    publicKey: publicKeyText(privateKey),
  };
}
