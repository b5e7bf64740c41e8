/**
 * What stands in front of Supabase Auth (GoTrue): its administration is closed, and its sign-outs are heard. Without
 * the latter an access token would be good until it expires, whoever signed out.
 */

import { setTimeout as delay } from 'node:timers/promises'
import { GatewayError } from '../errors.ts'
import type { Exchange, Handler, Policy, Reply } from '../exchange.ts'
import { readBearer } from '../identity/bearer.ts'
import type { Identity } from '../identity/identity.ts'
import type { TokenVerifier } from '../identity/verify.ts'
import { problemReply } from '../problem.ts'
import { isAdminPath, isLogoutPath } from '../route/auth-paths.ts'

/** This session, all but this one, or all that the user has. */
export type SignOutScope = 'local' | 'others' | 'global'

/** Refuses the tokens of a sign-out from now on, in all threads. */
export type SignOut = (identity: Identity, scope: SignOutScope) => void

const PROBLEM = 'application/problem+json'

export interface AuthServiceOptions {
  /** Its admin paths are open. */
  readonly admin: boolean
  readonly verifier: TokenVerifier
  readonly signOut: SignOut
}

export function authService({ admin, verifier, signOut }: AuthServiceOptions): Policy {
  return async function authService(exchange, next) {
    try {
      return inItsWords(await ask(exchange, next))
    } catch (thrown) {
      return inItsWords(problemReply(exchange, thrown))
    }
  }

  function ask(exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    if (!admin && isAdminPath(exchange.path)) throw new GatewayError('auth_admin_closed')
    return exchange.method === 'POST' && isLogoutPath(exchange.path) ? hear(exchange, next) : next(exchange)
  }

  /** The client has its answer only when its tokens are refused. */
  async function hear(exchange: Exchange, next: Handler): Promise<Reply> {
    const answer = await next(exchange)
    if (answer.status < 200 || answer.status > 299) return answer
    const identity = await identityOf(exchange)
    if (identity === null) return answer
    const scope = scopeOf(exchange.upstreamQuery)
    signOut(identity, scope)
    if (scope !== 'local') await endOfSecond()
    return answer
  }

  /** Who signed out, if a good token says so: anybody could send another. */
  async function identityOf(exchange: Exchange): Promise<Identity | null> {
    const values = exchange.headers.getAll('authorization')
    const bearer = readBearer(values.length === 1 ? values[0] : undefined)
    if (bearer.kind !== 'token') return null
    const verdict = await verifier.verify(bearer.token)
    return verdict.kind === 'verified' ? verdict.identity : null
  }
}

/**
 * The gateway's own failures, with the members beside its own in which Supabase's clients look for a text and a code;
 * without them the user of an application would be shown the whole problem as JSON.
 */
function inItsWords(answer: Reply): Reply {
  const { error, body } = answer
  if (error === undefined || typeof body !== 'string' || !answer.headers.includes(PROBLEM)) return answer
  const problem = JSON.parse(body) as Record<string, unknown>
  answer.body = JSON.stringify({ ...problem, msg: error.message, error_code: error.code })
  answer.contentLength = Buffer.byteLength(answer.body)
  return answer
}

/** Read as GoTrue does: the first one counts, none means all, and so does here what it would not have taken. */
function scopeOf(query: string): SignOutScope {
  const scope = new URLSearchParams(query).get('scope')
  return scope === 'local' || scope === 'others' ? scope : 'global'
}

/**
 * Tokens tell the time of their issue in whole seconds. Those of this second are refused with those before it: who signs
 * in again has to get one of the next.
 */
function endOfSecond(): Promise<void> {
  return delay(1_001 - (Date.now() % 1_000))
}
