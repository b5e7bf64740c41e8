/** Tokens as Supabase issues them, and tokens as attackers make them. */

import { createHmac } from 'node:crypto'
import { SECRET } from './gateway.ts'

export type ClaimSet = Record<string, unknown>

/** The claims of a signed-in user of a company. */
export function claims(over: ClaimSet = {}): ClaimSet {
  const now = Math.floor(Date.now() / 1000)
  return {
    sub: '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11',
    aud: 'authenticated',
    role: 'authenticated',
    email: 'ana@acme.example',
    iat: now,
    exp: now + 3600,
    app_metadata: { provider: 'email', company_id: 'acme' },
    user_metadata: {},
    ...over,
  }
}

/**
 * `exp` of a token that ends soon: 1.5 to 2.5 s from now, in which it is let in on a busy machine as well. Rounded down it
 * could be no time at all.
 */
export function expiringSoon(): number {
  return Math.round(Date.now() / 1000) + 2
}

/** A token over any header and payload, HMAC-signed whatever the header says. A claim set to undefined is absent. */
export function token(
  payload: ClaimSet = claims(),
  options: { secret?: string; header?: ClaimSet } = {},
): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${encode({ alg: 'HS256', typ: 'JWT', ...options.header })}.${encode(payload)}`
  const signature = createHmac('sha256', options.secret ?? SECRET)
    .update(signed)
    .digest('base64url')
  return `${signed}.${signature}`
}

/** A token over a payload as text, for what JSON.stringify would not write. */
export function tokenOverText(payload: string, secret = SECRET): string {
  const encode = (text: string): string => Buffer.from(text).toString('base64url')
  const signed = `${encode('{"alg":"HS256","typ":"JWT"}')}.${encode(payload)}`
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`
}
