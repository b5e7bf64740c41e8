/** What a token must say, RFC 7519 §4.1, once its signature is known to be good. */

import { type Claims, invalid, type Refusal, refused, type Verdict } from './identity.ts'

export interface ClaimRules {
  readonly audience: string
  /** Accepted values of `iss`; null: not checked, since self-hosted auth servers often send none. */
  readonly issuers: readonly string[] | null
  /** Seconds by which clocks may differ, for `exp`, `nbf` and `iat`. */
  readonly leeway: number
  /** Path of the claim that names the company. */
  readonly tenantClaim: readonly string[]
}

const REQUIRED = ['sub', 'aud', 'exp'] as const
const TIMES = ['exp', 'nbf', 'iat'] as const

/** Values that stand in a header as they are: printable ASCII, no space at either end. */
const HEADER_SAFE = /^[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?$/

/**
 * Checks a verified payload in the order in which a client can act upon the faults: what is absent, what is out of
 * time, what is meant for others, who it speaks for.
 * @param now seconds since the epoch
 */
export function checkClaims(payload: unknown, rules: ClaimRules, now: number): Verdict {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) {
    return invalid('the payload is not an object')
  }
  const claims = payload as Claims
  return (
    checkPresence(claims) ??
    checkTimes(claims, rules.leeway, now) ??
    checkAudience(claims, rules.audience) ??
    checkIssuer(claims, rules.issuers) ??
    identify(claims, rules)
  )
}

function checkPresence(claims: Claims): Refusal | null {
  const missing = REQUIRED.filter(name => !Object.hasOwn(claims, name) || claims[name] === null)
  if (missing.length === 0) return null
  return refused('token_claims_missing', `Token missing required claims: ${missing.join(', ')}`)
}

function checkTimes(claims: Claims, leeway: number, now: number): Refusal | null {
  for (const name of TIMES) {
    const value = claims[name]
    if (value !== undefined && (typeof value !== 'number' || !Number.isFinite(value))) {
      return invalid(`the claim ${name} is not a number`)
    }
  }
  if ((claims.exp as number) + leeway <= now) return refused('token_expired')
  if (typeof claims.nbf === 'number' && claims.nbf - leeway > now)
    return invalid('the token is not valid yet (nbf)')
  if (typeof claims.iat === 'number' && claims.iat - leeway > now) {
    return invalid('the token was issued in the future (iat)')
  }
  return null
}

function checkAudience(claims: Claims, expected: string): Refusal | null {
  const { aud } = claims
  const fits = Array.isArray(aud) ? aud.includes(expected) : aud === expected
  return fits ? null : refused('token_audience')
}

function checkIssuer(claims: Claims, issuers: readonly string[] | null): Refusal | null {
  if (issuers === null) return null
  if (typeof claims.iss === 'string' && issuers.includes(claims.iss)) return null
  return invalid('the issuer (iss) is not accepted here')
}

function identify(claims: Claims, rules: ClaimRules): Verdict {
  const { sub, email, iat, session_id: sessionId } = claims
  if (typeof sub !== 'string' || sub === '') return invalid('the claim sub is not a non-empty string')
  if (!HEADER_SAFE.test(sub)) return refused('subject_unusable')
  if (email !== undefined && email !== null && typeof email !== 'string') {
    return invalid('the claim email is not a string')
  }
  return {
    kind: 'verified',
    identity: {
      userId: sub,
      companyId: companyOf(claimAt(claims, rules.tenantClaim)),
      email: email ? email : null,
      claims: frozen(claims),
      expiresAt: claims.exp as number,
      issuedAt: typeof iat === 'number' ? iat : 0,
      sessionId: typeof sessionId === 'string' ? sessionId : null,
    },
  }
}

/** A non-empty string that a header can carry unchanged, or a whole number; nothing else names a company. */
function companyOf(value: unknown): string | null {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value) : null
  return typeof value === 'string' && HEADER_SAFE.test(value) ? value : null
}

/** The value at a path of claims; own properties of objects only. */
export function claimAt(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims
  for (const name of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name)) {
      return undefined
    }
    value = (value as Claims)[name]
  }
  return value
}

/** Claims are kept for as long as their token: what one request's policy wrote into them, the next one would believe. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const inner of Object.values(value)) frozen(inner)
  return Object.freeze(value)
}
