/** Who asks? Reads the bearer token (RFC 6750), has it verified, and says in the first gateway's words what is wrong with it. */

import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Exchange, Policy } from '../exchange.ts'
import { readBearer } from '../identity/bearer.ts'
import type { Verdict } from '../identity/identity.ts'
import type { TokenVerifier } from '../identity/verify.ts'

export interface AuthenticateOptions {
  readonly verifier: TokenVerifier
  /** `optional`: a request without a token passes as nobody's; a bad token is refused all the same. */
  readonly mode: 'required' | 'optional'
  readonly audience: string
}

export function authenticate({ verifier, mode, audience }: AuthenticateOptions): Policy {
  const challenges = challengesFor(audience)

  return function authenticate(exchange, next) {
    const authorization = authorizationOf(exchange)
    const bearer = readBearer(authorization)
    switch (bearer.kind) {
      case 'none':
        if (mode === 'optional') return next(exchange)
        throw refusal('not_authenticated')
      case 'opaque_key':
        // supabase-js sends its publishable key as a bearer while nobody is signed in.
        if (mode === 'optional') return next(exchange)
        throw refusal('opaque_key')
      case 'malformed':
        throw refusal('token_invalid', 'Token validation failed: not one bearer token')
    }
    const verdict = verifier.verify(bearer.token)
    return verdict instanceof Promise ? verdict.then(admit) : admit(verdict)

    function admit(verdict: Verdict) {
      if (verdict.kind === 'refused') throw refusal(verdict.code, verdict.detail)
      exchange.identity = verdict.identity
      return next(exchange)
    }
  }

  function refusal(code: ErrorCode, detail?: string): GatewayError {
    const challenge = challenges[code]
    const headers = challenge === undefined ? [] : ['WWW-Authenticate', challenge]
    if (code === 'keys_unavailable') headers.push('Retry-After', '1')
    return new GatewayError(code, detail === undefined ? { headers } : { headers, detail })
  }
}

/** The one Authorization value. Two of them are two opinions about who asks. */
function authorizationOf(exchange: Exchange): string | undefined {
  const values = exchange.headers.getAll('authorization')
  if (values.length > 1) throw new GatewayError('repeated_authorization')
  return values[0]
}

function challengesFor(audience: string): Partial<Record<ErrorCode, string>> {
  const describe = (text: string): string => `Bearer error="invalid_token", error_description="${text}"`
  const quoted = audience.replace(/[^\x20-\x7e]|["\\]/g, '')
  return {
    not_authenticated: 'Bearer',
    opaque_key: 'Bearer',
    token_signature: describe('Invalid signature'),
    token_expired: describe('The token has expired'),
    token_audience: describe(`Invalid audience, expected '${quoted}'`),
    token_claims_missing: 'Bearer error="invalid_token"',
    token_invalid: 'Bearer error="invalid_token"',
  }
}
