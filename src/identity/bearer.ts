/** Bearer credentials, RFC 6750 §2.1. */

export type Bearer =
  | { readonly kind: 'none' }
  /** A Supabase API key (`sb_publishable_…`, `sb_secret_…`): identifies a project, not a user. */
  | { readonly kind: 'opaque_key' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'token'; readonly token: string }

const TAB = 9
const SPACE = 32

const NONE: Bearer = { kind: 'none' }
const MALFORMED: Bearer = { kind: 'malformed' }
const OPAQUE_KEY: Bearer = { kind: 'opaque_key' }

/** The token characters of RFC 6750 §2.1 (b64token). */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

/** @param authorization the one Authorization value, or undefined */
export function readBearer(authorization: string | undefined): Bearer {
  if (authorization === undefined) return NONE
  if (authorization.slice(0, 6).toLowerCase() !== 'bearer') return NONE
  const separator = authorization.charCodeAt(6)
  // Another scheme that only begins alike; but a tab in place of the space is a bearer token gone wrong.
  if (separator !== SPACE) return separator === TAB ? MALFORMED : NONE
  const token = authorization.slice(7).replace(/^ +| +$/g, '')
  if (token === '') return NONE
  if (token.startsWith('sb_')) return OPAQUE_KEY
  return TOKEN.test(token) ? { kind: 'token', token } : MALFORMED
}
