/** Which published keys (RFC 7517) are of use for which algorithm, and how they become keys to verify with. */

import { createPublicKey, type KeyObject, type webcrypto } from 'node:crypto'
import type { Jwk } from './key-source.ts'

interface KeyType {
  readonly kty: string
  readonly crv?: string
  /** The members that make the public key, RFC 7518 §6 and RFC 8037 §2. */
  readonly members: readonly string[]
}

const P256: KeyType = { kty: 'EC', crv: 'P-256', members: ['kty', 'crv', 'x', 'y'] }
const RSA: KeyType = { kty: 'RSA', members: ['kty', 'n', 'e'] }
const ED25519: KeyType = { kty: 'OKP', crv: 'Ed25519', members: ['kty', 'crv', 'x'] }

/** What a key may be used for here. A symmetric key in a public set is a mistake, never a key. */
const KEY_TYPES: ReadonlyMap<string, KeyType> = new Map([
  ['ES256', P256],
  ['RS256', RSA],
  ['EdDSA', ED25519],
  ['Ed25519', ED25519],
])

export const SIGNATURE_ALGORITHMS: readonly string[] = [...KEY_TYPES.keys()]

/** RFC 7518 §3.3 */
const MIN_RSA_BITS = 2048

export function fits(jwk: Jwk, algorithm: string): boolean {
  const type = KEY_TYPES.get(algorithm)
  if (type === undefined || jwk.kty !== type.kty) return false
  if (type.crv !== undefined && jwk.crv !== type.crv) return false
  if (jwk.use !== undefined && jwk.use !== 'sig') return false
  if (Array.isArray(jwk.key_ops) && !jwk.key_ops.includes('verify')) return false
  return jwk.alg === undefined || jwk.alg === algorithm || (type === ED25519 && isEdwards(jwk.alg))
}

/** Two names of one algorithm, RFC 8037 and RFC 9864. */
function isEdwards(algorithm: unknown): boolean {
  return algorithm === 'EdDSA' || algorithm === 'Ed25519'
}

/** A key of some algorithm that is known here. */
export function isUsable(value: unknown): value is Jwk {
  if (typeof value !== 'object' || value === null) return false
  return SIGNATURE_ALGORITHMS.some(algorithm => fits(value as Jwk, algorithm))
}

/** The key of a JWK that fits the algorithm; null when it is malformed, too short, or private and so known to all. */
export function importKey(jwk: Jwk, algorithm: string): KeyObject | null {
  const type = KEY_TYPES.get(algorithm)
  if (type === undefined || jwk.d !== undefined) return null
  const key = Object.fromEntries(type.members.map(name => [name, jwk[name]])) as webcrypto.JsonWebKey
  try {
    const imported = createPublicKey({ key, format: 'jwk' })
    const tooShort = type === RSA && (imported.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS
    return tooShort ? null : imported
  } catch {
    return null
  }
}
