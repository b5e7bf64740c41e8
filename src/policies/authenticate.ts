/** Who asks? Reads the bearer token (RFC 6750), has it verified, and says in the first gateway's words what is wrong with it. */

import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Exchange, Handler, Policy, Reply } from '../exchange.ts'
import { type Bearer, readBearer } from '../identity/bearer.ts'
import type { Verdict } from '../identity/identity.ts'
import type { TokenVerifier } from '../identity/verify.ts'
import { problemReply } from '../problem.ts'
import type { AskedBlocks } from '../store/blocks.ts'
import type { RequestHeaders } from '../wire/request-headers.ts'
import { blockedError } from './blocked.ts'

export interface AuthenticateOptions {
  readonly verifier: TokenVerifier
  readonly blocks: AskedBlocks
  /** `optional`: a request without a token passes as nobody's; a bad token is refused all the same. */
  readonly mode: 'required' | 'optional'
  readonly audience: string
  /** Look where policies/stream-credentials.ts puts what it found. */
  readonly streams?: boolean
}

const NOT_ONE_TOKEN = 'Token validation failed: not one bearer token'

export function authenticate({ verifier, blocks, mode, audience, streams }: AuthenticateOptions): Policy {
  const headers = headersFor(audience)

  function authenticate(exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    return judge(exchange.headers.derived.get(bearerOf, bearerOf), exchange, next)
  }

  function authenticateStreams(exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    const { streamBearer } = exchange
    return streamBearer === null ? authenticate(exchange, next) : judge(streamBearer, exchange, next)
  }

  return streams ? authenticateStreams : authenticate

  function judge(bearer: HeaderBearer, exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    switch (bearer.kind) {
      case 'none':
        return mode === 'optional' ? next(exchange) : refuse(exchange, 'not_authenticated')
      case 'opaque_key':
        // supabase-js sends its publishable key as a bearer while nobody is signed in.
        return mode === 'optional' ? next(exchange) : refuse(exchange, 'opaque_key')
      case 'malformed':
        return refuse(exchange, 'token_invalid', NOT_ONE_TOKEN)
      case 'repeated':
        return refuse(exchange, 'repeated_authorization')
    }
    const verdict = verifier.verify(bearer.token)
    return verdict instanceof Promise
      ? verdict.then(late => admit(late, exchange, next))
      : admit(verdict, exchange, next)
  }

  function admit(verdict: Verdict, exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    if (verdict.kind === 'refused') return refuse(exchange, verdict.code, verdict.detail)
    const block = blocks.against(verdict.identity)
    if (block !== null) return problemReply(exchange, blockedError(block))
    exchange.identity = verdict.identity
    return next(exchange)
  }

  /** Returned, not thrown: this is how floods are answered, and unwinding costs more than the rest of it. */
  function refuse(exchange: Exchange, code: ErrorCode, detail?: string): Reply {
    const lines = headers[code] ?? []
    const error = new GatewayError(
      code,
      detail === undefined ? { headers: lines } : { headers: lines, detail },
    )
    return problemReply(exchange, error)
  }
}

export type HeaderBearer = Bearer | { readonly kind: 'repeated' }

/** The one Authorization value. Two of them are two opinions about who asks. */
export function bearerOf(headers: RequestHeaders): HeaderBearer {
  const values = headers.getAll('authorization')
  return values.length > 1 ? { kind: 'repeated' } : readBearer(values[0])
}

/** Header lines of the refusals: the challenge that RFC 6750 §3 asks for, or when to come again. */
function headersFor(audience: string): Partial<Record<ErrorCode, readonly string[]>> {
  const challenge = (text: string): readonly string[] => ['WWW-Authenticate', text]
  const describe = (text: string) => challenge(`Bearer error="invalid_token", error_description="${text}"`)
  const quoted = audience.replace(/[^\x20-\x7e]|["\\]/g, '')
  return {
    not_authenticated: challenge('Bearer'),
    opaque_key: challenge('Bearer'),
    token_signature: describe('Invalid signature'),
    token_expired: describe('The token has expired'),
    token_revoked: describe('The token has been revoked'),
    token_audience: describe(`Invalid audience, expected '${quoted}'`),
    token_claims_missing: challenge('Bearer error="invalid_token"'),
    token_invalid: challenge('Bearer error="invalid_token"'),
    keys_unavailable: ['Retry-After', '1'],
  }
}
