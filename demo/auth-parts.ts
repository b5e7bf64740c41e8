import type { IncomingMessage, ServerResponse } from 'node:http'
import { errors } from 'jose'
import type { AccountStore } from './account-store.ts'
import type { Account } from './accounts.ts'
import { AuthError } from './auth-error.ts'
import type { Issuer } from './issuer.ts'
import { readJson } from './json.ts'
import type { OneTime } from './one-time.ts'
import type { Session, Sessions, SignInMethod } from './sessions.ts'

/** What the endpoints of the auth service share. */
export interface AuthParts {
  readonly accounts: AccountStore
  readonly sessions: Sessions
  readonly issuer: Issuer
  /** Given to browsers in redirects, for the session that their code verifier proves to be theirs. */
  readonly codes: OneTime<CodeGrant>
  /** Where clients reach this service: through the gateway. */
  readonly externalUrl: () => string
  /** Where browsers land that name no other page, or one that they may not be sent to. */
  readonly siteUrl: () => string
  /** Sends the e-mail that asks for confirmation; null: nobody is asked. */
  readonly sendConfirmation: ((email: string, link: string) => void) | null
}

export interface CodeGrant {
  readonly account: Account
  readonly method: SignInMethod
  /** RFC 7636: the SHA-256 of the secret that the client keeps. */
  readonly challenge: string
}

export interface AuthExchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly query: URLSearchParams
}

/** By path, then by method. */
export type Endpoints = Record<string, Record<string, (exchange: AuthExchange) => unknown>>

export async function fieldsOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const body = await readJson(request)
  if (body.kind === 'object') return body.fields
  throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
}

export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

export function bearerOf(request: IncomingMessage): string {
  const token = /^bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (token !== undefined) return token
  throw new AuthError(401, 'no_authorization', 'This endpoint requires a valid Bearer token')
}

export async function sessionOf({ issuer, sessions }: AuthParts, request: IncomingMessage): Promise<Session> {
  const claims = await issuer.verify(bearerOf(request)).catch((error: unknown) => {
    if (!(error instanceof errors.JOSEError)) throw error
    throw new AuthError(403, 'bad_jwt', `invalid JWT: ${error.message}`)
  })
  const session = sessions.find(String(claims.session_id))
  if (session !== undefined) return session
  throw new AuthError(403, 'session_not_found', 'Session from session_id claim in JWT does not exist')
}

/** RFC 7636 §4.2, as clients send it; null when none is sent. The plain kind protects nothing and is refused. */
export function challengeOf(challenge: unknown, method: unknown): string | null {
  if (challenge === undefined || challenge === null || challenge === '') return null
  if (typeof challenge === 'string' && String(method).toLowerCase() === 's256') return challenge
  throw new AuthError(400, 'validation_failed', 'code_challenge_method must be s256')
}
