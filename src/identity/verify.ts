/**
 * Verifies tokens. The algorithm in a token's header only chooses between key sources that the operator configured
 * for it: shared secrets for HMAC, the JWKS for signatures; never the other way round (RFC 8725 §3.1).
 */

import type { ProtectedHeaderParameters } from 'jose'
import { decodeProtectedHeader } from 'jose/decode/protected_header'
import { JWSSignatureVerificationFailed } from 'jose/errors'
import { compactVerify } from 'jose/jws/compact/verify'
import { type ClaimRules, checkClaims } from './claims.ts'
import { invalid, refused, type Verdict } from './identity.ts'
import type { JwksKeys } from './jwks.ts'
import { TokenCache } from './token-cache.ts'

export type HmacAlgorithm = 'HS256' | 'HS384' | 'HS512'

export interface VerifierSettings {
  readonly rules: ClaimRules
  readonly secret: { readonly algorithm: HmacAlgorithm; readonly value: string } | null
  /** Signature algorithms accepted with keys of the JWKS. */
  readonly signatureAlgorithms: readonly string[]
  /** Upper bound for remembered tokens. */
  readonly cacheBytes: number
}

/** Longer than any real token (chunked Supabase cookies included), shorter than trouble. */
const MAX_TOKEN_LENGTH = 16_384

type VerificationKey = CryptoKey | Uint8Array

export class TokenVerifier {
  readonly #settings: VerifierSettings
  readonly #secret: Uint8Array | null
  readonly #jwks: JwksKeys | null
  readonly #cache: TokenCache
  #generation = 0

  constructor(settings: VerifierSettings, jwks: JwksKeys | null) {
    this.#settings = settings
    this.#secret = settings.secret === null ? null : new TextEncoder().encode(settings.secret.value)
    this.#jwks = jwks
    this.#cache = new TokenCache(settings.cacheBytes)
  }

  /** Every source of keys that is configured has given some. */
  get ready(): boolean {
    return this.#jwks?.ready ?? this.#secret !== null
  }

  /** Forgets verified tokens: their keys may be gone. */
  forget(): void {
    this.#generation++
    this.#cache.clear()
  }

  /** At once for a token seen before, else a promise. */
  verify(token: string): Verdict | Promise<Verdict> {
    const now = Date.now() / 1000
    const identity = this.#cache.get(token, now - this.#settings.rules.leeway)
    return identity === undefined ? this.#verifyUnseen(token, now) : { kind: 'verified', identity }
  }

  async #verifyUnseen(token: string, now: number): Promise<Verdict> {
    if (token.length > MAX_TOKEN_LENGTH) return invalid('the token is too long')
    const header = headerOf(token)
    if (header === null) return invalid('not a signed JSON Web Token')
    // No extension is understood here, and `crit` asks for a refusal then (RFC 7515 §4.1.11).
    if (header.crit !== undefined) return invalid('the header asks for extensions (crit)')
    const generation = this.#generation
    const key = await this.#keyFor(header)
    if ('kind' in key) return key
    const payload = await verifiedPayload(token, key.key, header.alg as string)
    if ('kind' in payload) return payload
    const verdict = checkClaims(payload.value, this.#settings.rules, now)
    // Keys may have changed while this one was at work: then the next request has to ask again.
    if (verdict.kind === 'verified' && generation === this.#generation)
      this.#cache.set(token, verdict.identity)
    return verdict
  }

  async #keyFor(
    header: ProtectedHeaderParameters,
  ): Promise<{ key: VerificationKey } | Extract<Verdict, { kind: 'refused' }>> {
    const { alg, kid } = header
    if (this.#secret !== null && alg === this.#settings.secret?.algorithm) return { key: this.#secret }
    if (this.#jwks === null || typeof alg !== 'string' || !this.#settings.signatureAlgorithms.includes(alg)) {
      return invalid('the algorithm is not accepted here')
    }
    if (kid !== undefined && typeof kid !== 'string') return invalid('the key id (kid) is not a string')
    const found = await this.#jwks.find(alg, kid)
    if (found.kind === 'key') return { key: found.key }
    return found.kind === 'unavailable' ? refused('keys_unavailable') : invalid('no key matches the token')
  }
}

/** JWS compact serialization, RFC 7515 §7.1: base64url without padding, and nothing else, three times. */
const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]*$/

function headerOf(token: string): ProtectedHeaderParameters | null {
  if (!COMPACT.test(token)) return null
  try {
    return decodeProtectedHeader(token)
  } catch {
    return null
  }
}

async function verifiedPayload(
  token: string,
  key: VerificationKey,
  algorithm: string,
): Promise<{ value: unknown } | Extract<Verdict, { kind: 'refused' }>> {
  let bytes: Uint8Array
  try {
    bytes = (await compactVerify(token, key, { algorithms: [algorithm] })).payload
  } catch (error) {
    if (error instanceof JWSSignatureVerificationFailed) return refused('token_signature')
    return invalid('not a valid JSON Web Signature')
  }
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) }
  } catch {
    return invalid('the payload is not JSON')
  }
}
