/** Who a verified token speaks for. */

import type { ErrorCode } from '../errors.ts'

export interface Identity {
  /** The claim `sub`. */
  readonly userId: string
  /** The tenant, or null when the token names none that is usable. */
  readonly companyId: string | null
  readonly email: string | null
  readonly claims: Claims
  /** The claim `exp`, in seconds since the epoch. */
  readonly expiresAt: number
  /** The claim `iat`, in seconds since the epoch; 0 when the token does not say. */
  readonly issuedAt: number
  /** The claim `session_id`: the sign-in that the token belongs to. */
  readonly sessionId: string | null
}

export type Claims = Readonly<Record<string, unknown>>

/** A token that is not accepted: its code, and the text for the client. */
export interface Refusal {
  readonly kind: 'refused'
  readonly code: ErrorCode
  readonly detail?: string
}

export type Verdict = { readonly kind: 'verified'; readonly identity: Identity } | Refusal

export function refused(code: ErrorCode, detail?: string): Refusal {
  return detail === undefined ? { kind: 'refused', code } : { kind: 'refused', code, detail }
}

/** `Token validation failed: …`, the collective text for whatever has none of its own. */
export function invalid(reason: string): Refusal {
  return refused('token_invalid', `Token validation failed: ${reason}`)
}
