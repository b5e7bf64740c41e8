import { createHmac } from 'node:crypto'

/** Shared by everything that is measured. Letters and digits only: it stands in three configuration languages. */
export const SECRET = 'benchmarkSecretOfSixtyFourBytesSharedByTheGatewayAndItsPeers0123'

export const COMPANY = '3f1d7a52-6a0e-4c0b-9b7e-2f8f2a1c9d10'
export const USER = '8c0f2a6e-51d4-4b7b-8f1d-0a9d5a7e6b21'
export const EMAIL = 'ana.perez@acme.example'

type Claims = Record<string, unknown>

/** The claims that Supabase Auth puts into a user's access token, with the tenant beside them. */
export function claims(changes: Claims = {}): Claims {
  const now = Math.floor(Date.now() / 1000)
  return {
    aud: 'authenticated',
    exp: now + 6 * 3600,
    iat: now,
    sub: USER,
    email: EMAIL,
    role: 'authenticated',
    aal: 'aal1',
    session_id: '5b1e6c1a-9f64-4a3b-8f53-7f0b3c2d1e4f',
    app_metadata: { provider: 'email', company_id: COMPANY },
    ...changes,
  }
}

/** About 500 bytes, as an HS256 token of Supabase Auth is. */
export function token(changes: Claims = {}, secret = SECRET): string {
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims(changes))}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}

/** A token that asks not to be verified: it must be refused. */
export function unsignedToken(): string {
  return `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims())}.`
}

export function encode(part: Claims): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
