/**
 * Checks signatures of tokens in compact serialization (RFC 7515 §5.2), synchronously. WebCrypto would do the same on
 * a thread pool: for HS256 that costs 116 µs of CPU instead of 2, for ES256 186 instead of 65.
 */

import { hash, type KeyObject, timingSafeEqual, verify } from 'node:crypto'

export type HmacAlgorithm = 'HS256' | 'HS384' | 'HS512'

/** Longer than any real token (chunked Supabase cookies included), shorter than trouble. */
export const MAX_TOKEN_LENGTH = 16_384

/**
 * Whether a signature is good.
 * @param token ASCII, at most MAX_TOKEN_LENGTH characters
 * @param signedLength of header and payload with the dot between them, which is what was signed
 * @param signature the last part, decoded
 */
export type SignatureCheck = (token: string, signedLength: number, signature: Buffer) => boolean

interface HmacHash {
  readonly name: string
  /** Bytes that the hash works on at a time, RFC 2104's B. */
  readonly block: number
  readonly digest: number
}

const HMAC: Readonly<Record<HmacAlgorithm, HmacHash>> = {
  HS256: { name: 'sha256', block: 64, digest: 32 },
  HS384: { name: 'sha384', block: 128, digest: 48 },
  HS512: { name: 'sha512', block: 128, digest: 64 },
}

/**
 * HMAC (RFC 2104) out of two one-shot hashes over buffers that hold the padded key already: 1.3 µs for a token of 600
 * characters. `createHmac` sets up native objects for each token and takes 3.1.
 * @throws RangeError on an empty secret: anyone can sign with that
 */
export function hmacCheck(algorithm: HmacAlgorithm, secret: string): SignatureCheck {
  if (secret === '') throw new RangeError('the secret is empty')
  const { name, block, digest } = HMAC[algorithm]
  const inner = Buffer.allocUnsafeSlow(block + MAX_TOKEN_LENGTH)
  const outer = Buffer.allocUnsafeSlow(block + digest)
  const key = paddedKey(secret, name, block)
  for (const [at, byte] of key.entries()) {
    inner[at] = byte ^ 0x36
    outer[at] = byte ^ 0x5c
  }
  const expected = Buffer.allocUnsafeSlow(digest)

  return function hmacCheck(token, signedLength, signature) {
    if (signature.length !== digest) return false
    inner.write(token, block, 'latin1')
    // Digests as Latin-1 text: the hash would wrap each in a new Buffer otherwise, for half a microsecond.
    outer.write(hash(name, inner.subarray(0, block + signedLength), 'latin1'), block, 'latin1')
    expected.write(hash(name, outer, 'latin1'), 'latin1')
    return timingSafeEqual(expected, signature)
  }
}

function paddedKey(secret: string, name: string, block: number): Buffer {
  const bytes = Buffer.from(secret, 'utf8')
  const padded = Buffer.alloc(block)
  padded.set(bytes.length > block ? hash(name, bytes, 'buffer') : bytes)
  return padded
}

interface Asymmetric {
  readonly hash: string | null
  /** Bytes of a signature; null: as many as the key's modulus has. */
  readonly length: number | null
}

const ED25519: Asymmetric = { hash: null, length: 64 }

const ASYMMETRIC: ReadonlyMap<string, Asymmetric> = new Map([
  ['ES256', { hash: 'sha256', length: 64 }],
  ['RS256', { hash: 'sha256', length: null }],
  ['EdDSA', ED25519],
  ['Ed25519', ED25519],
])

/** @param key fits the algorithm (identity/jwk.ts) */
export function publicKeyCheck(algorithm: string, key: KeyObject): SignatureCheck {
  const entry = ASYMMETRIC.get(algorithm)
  if (entry === undefined) throw new RangeError(`no signature algorithm: ${algorithm}`)
  // JWS has r and s side by side where X.509 has DER, RFC 7518 §3.4; the other algorithms know one encoding only.
  const options = { key, dsaEncoding: 'ieee-p1363' } as const

  return function publicKeyCheck(token, signedLength, signature) {
    if (entry.length !== null && signature.length !== entry.length) return false
    return verify(entry.hash, Buffer.from(token.slice(0, signedLength), 'latin1'), options, signature)
  }
}
