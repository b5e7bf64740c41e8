/**
 * Verifies tokens. The algorithm in a token's header only chooses between key sources that the operator configured
 * for it: shared secrets for HMAC, the JWKS for signatures; never the other way round (RFC 8725 §3.1).
 */

import { type ClaimRules, checkClaims } from './claims.ts'
import { decodePart, parseHeader, parseJson } from './compact.ts'
import { type Identity, invalid, type Refusal, refused, type Verdict } from './identity.ts'
import type { JwksKeys, KeyLookup } from './jwks.ts'
import {
  type HmacAlgorithm,
  hmacCheck,
  MAX_TOKEN_LENGTH,
  publicKeyCheck,
  type SignatureCheck,
} from './signature.ts'
import { TokenCache } from './token-cache.ts'

export type { HmacAlgorithm } from './signature.ts'

export interface VerifierSettings {
  readonly rules: ClaimRules
  readonly secret: { readonly algorithm: HmacAlgorithm; readonly value: string } | null
  /** Signature algorithms accepted with keys of the JWKS. */
  readonly signatureAlgorithms: readonly string[]
  /** Upper bound for remembered tokens. */
  readonly cacheBytes: number
}

/** Sign-outs and revoked users. Asked for every token, remembered or not: must be cheap. */
export interface Revocations {
  /** Changes with each revocation. */
  readonly version: number
  /** Whether an identity may not go on. */
  isRevoked(identity: Identity): boolean
}

/** Issuers write a handful of headers. More than this many, and they are learned anew. */
const MAX_HEADERS = 64

// A refused token shall cost little, so that nothing is gained by sending many: no text is put together for it.
const TOO_LONG = invalid('the token is too long')
const NOT_COMPACT = invalid('not a signed JSON Web Token')
const EXTENSIONS = invalid('the header asks for extensions (crit)')
const ALGORITHM = invalid('the algorithm is not accepted here')
const KEY_ID = invalid('the key id (kid) is not a string')
const NO_KEY = invalid('no key matches the token')
const NO_KEYS = refused('keys_unavailable')
const SIGNATURE = refused('token_signature')
const NOT_JSON = invalid('the payload is not JSON')
const REVOKED = refused('token_revoked')

export class TokenVerifier {
  readonly #settings: VerifierSettings
  readonly #secret: SignatureCheck | null
  readonly #jwks: JwksKeys | null
  readonly #revocations: Revocations | null
  readonly #cache: TokenCache
  /** Encoded headers of tokens that were good, and what to check such tokens with. Learned from good ones only. */
  readonly #checks = new Map<string, SignatureCheck>()
  readonly #payload = Buffer.allocUnsafeSlow(MAX_TOKEN_LENGTH)
  readonly #signature = Buffer.allocUnsafeSlow(MAX_TOKEN_LENGTH)

  constructor(settings: VerifierSettings, jwks: JwksKeys | null, revocations: Revocations | null = null) {
    const { secret } = settings
    this.#settings = settings
    this.#secret = secret === null ? null : hmacCheck(secret.algorithm, secret.value)
    this.#jwks = jwks
    this.#revocations = revocations
    this.#cache = new TokenCache(settings.cacheBytes)
  }

  /** Every source of keys that is configured has given some. */
  get ready(): boolean {
    return this.#jwks?.ready ?? this.#secret !== null
  }

  /** Forgets verified tokens: their keys may be gone. */
  forget(): void {
    this.#cache.clear()
    this.#checks.clear()
  }

  /**
   * @param token as it came, unchecked
   * @returns a promise only when keys have to be fetched first
   */
  verify(token: string): Verdict | Promise<Verdict> {
    const now = Date.now() / 1000
    const identity = this.#cache.get(token, now - this.#settings.rules.leeway)
    return identity === undefined ? this.#verifyUnseen(token, now) : this.#admit(identity)
  }

  /** The cheap checks come first, and every one before a claim is believed. */
  #verifyUnseen(token: string, now: number): Verdict | Promise<Verdict> {
    if (token.length > MAX_TOKEN_LENGTH) return TOO_LONG
    const headerEnd = token.indexOf('.')
    const signed = token.indexOf('.', headerEnd + 1)
    if (headerEnd <= 0 || signed === -1) return NOT_COMPACT
    const known = this.#checks.get(token.slice(0, headerEnd))
    if (known !== undefined) return this.#verifySigned(token, headerEnd, signed, known, now)
    const found = this.#checkFor(token.slice(0, headerEnd))
    if (typeof found === 'function') return this.#verifySigned(token, headerEnd, signed, found, now)
    if (!(found instanceof Promise)) return found
    // Keys do not change between this and the look-up: both run before the loop takes up anything else.
    return found.then(check =>
      typeof check === 'function' ? this.#verifySigned(token, headerEnd, signed, check, now) : check,
    )
  }

  #verifySigned(
    token: string,
    headerEnd: number,
    signed: number,
    check: SignatureCheck,
    now: number,
  ): Verdict {
    const payload = decodePart(token.slice(headerEnd + 1, signed), this.#payload)
    const signature = decodePart(token.slice(signed + 1), this.#signature)
    if (payload === null || signature === null || payload.length === 0) return NOT_COMPACT
    if (!check(token, signed, signature)) return SIGNATURE
    this.#learn(token.slice(0, headerEnd), check)
    const claims = parseJson(payload)
    if (claims === undefined) return NOT_JSON
    const verdict = checkClaims(claims, this.#settings.rules, now)
    if (verdict.kind === 'refused') return verdict
    this.#cache.set(token, verdict.identity)
    return this.#admit(verdict.identity)
  }

  #admit(identity: Identity): Verdict {
    return this.#revocations?.isRevoked(identity) ? REVOKED : { kind: 'verified', identity }
  }

  /** What tokens under a header are checked with, or why there is nothing. */
  #checkFor(encodedHeader: string): SignatureCheck | Refusal | Promise<SignatureCheck | Refusal> {
    const header = parseHeader(encodedHeader)
    if (header === null) return NOT_COMPACT
    const { alg, kid, crit } = header
    // No extension is understood here, and `crit` asks for a refusal then (RFC 7515 §4.1.11).
    if (crit !== undefined) return EXTENSIONS
    if (this.#secret !== null && alg === this.#settings.secret?.algorithm) return this.#secret
    if (this.#jwks === null || typeof alg !== 'string' || !this.#settings.signatureAlgorithms.includes(alg)) {
      return ALGORITHM
    }
    if (kid !== undefined && typeof kid !== 'string') return KEY_ID
    const found = this.#jwks.find(alg, kid)
    return found instanceof Promise ? found.then(late => checkWith(late, alg)) : checkWith(found, alg)
  }

  #learn(encodedHeader: string, check: SignatureCheck): void {
    if (this.#checks.has(encodedHeader)) return
    if (this.#checks.size >= MAX_HEADERS) this.#checks.clear()
    // A slice could keep the whole request head in memory.
    this.#checks.set(Buffer.from(encodedHeader, 'latin1').toString('latin1'), check)
  }
}

function checkWith(found: KeyLookup, algorithm: string): SignatureCheck | Refusal {
  if (found.kind === 'key') return publicKeyCheck(algorithm, found.key)
  return found.kind === 'unavailable' ? NO_KEYS : NO_KEY
}
