/** Bearer credentials, RFC 6750 §2.1. */

export type Bearer =
  | { readonly kind: 'none' }
  /** A Supabase API key (`sb_publishable_…`, `sb_secret_…`): identifies a project, not a user. */
  | { readonly kind: 'opaque_key' }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'token'; readonly token: string }

const NONE: Bearer = { kind: 'none' }
const MALFORMED: Bearer = { kind: 'malformed' }
const OPAQUE_KEY: Bearer = { kind: 'opaque_key' }

/** The token characters of RFC 6750 §2.1 (b64token). */
const TOKEN = /^[A-Za-z0-9\-._~+/]+=*$/

/** @param authorization the one Authorization value, or undefined */
export function readBearer(authorization: string | undefined): Bearer {
  if (authorization === undefined) return NONE
  const space = authorization.indexOf(' ')
  const scheme = space === -1 ? authorization : authorization.slice(0, space)
  if (scheme.length !== 6 || scheme.toLowerCase() !== 'bearer' || space === -1) return NONE
  const token = authorization.slice(space + 1).replace(/^ +| +$/g, '')
  if (token === '') return NONE
  if (token.startsWith('sb_')) return OPAQUE_KEY
  return TOKEN.test(token) ? { kind: 'token', token } : MALFORMED
}
