import { createHash } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { userOf } from './accounts.ts'
import { AuthError } from './auth-error.ts'
import { type AuthExchange, type AuthParts, type Endpoints, fieldsOf, textOf } from './auth-parts.ts'
import { tokenLifetime } from './issuer.ts'
import { sendJson } from './json.ts'
import type { Session } from './sessions.ts'

type Grant = (parts: AuthParts, fields: Record<string, unknown>) => Session | Promise<Session>

const grants = new Map<string | null, Grant>([
  ['password', byPassword],
  ['refresh_token', byRefreshToken],
  ['pkce', byCode],
])

/** What gives sessions to clients that ask for them. */
export function tokenEndpoints(parts: AuthParts): Endpoints {
  return { '/token': { POST: grant } }

  async function grant({ request, response, query }: AuthExchange): Promise<void> {
    const fields = await fieldsOf(request)
    const granted = grants.get(query.get('grant_type'))
    if (granted === undefined) {
      const known = [...grants.keys()].join(', ')
      throw new AuthError(400, 'unsupported_grant_type', `grant_type must be one of ${known}`)
    }
    await sendSession(parts, response, await granted(parts, fields))
  }
}

export async function sendSession(parts: AuthParts, response: ServerResponse, session: Session) {
  sendJson(response, 200, await sessionContent(parts, session), { 'Cache-Control': 'no-store' })
}

export async function sessionContent({ issuer }: AuthParts, session: Session) {
  const { token, expiresAt } = await issuer.issue(session)
  return {
    access_token: token,
    token_type: 'bearer',
    expires_in: tokenLifetime,
    expires_at: expiresAt,
    refresh_token: session.refreshToken,
    user: userOf(session.account, session.startedAt.toISOString()),
  }
}

async function byPassword(
  { accounts, sessions }: AuthParts,
  fields: Record<string, unknown>,
): Promise<Session> {
  const account = accounts.find(textOf(fields.email)?.toLowerCase() ?? '')
  if (account === undefined || !(await accounts.hasPassword(account, textOf(fields.password) ?? ''))) {
    throw new AuthError(400, 'invalid_credentials', 'Invalid login credentials')
  }
  if (account.confirmedAt === undefined) {
    throw new AuthError(400, 'email_not_confirmed', 'Email not confirmed')
  }
  return sessions.start(account, 'password')
}

function byRefreshToken({ sessions }: AuthParts, fields: Record<string, unknown>): Session {
  const token = textOf(fields.refresh_token)
  if (token === undefined) throw new AuthError(400, 'validation_failed', 'A refresh_token is required')
  const refreshed = sessions.refresh(token)
  if (refreshed.kind === 'refreshed') return refreshed.session
  if (refreshed.kind === 'reused') {
    throw new AuthError(400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used')
  }
  throw new AuthError(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
}

/** RFC 7636 §4.6: a code that was overheard is worth nothing without the secret behind its challenge. */
function byCode({ codes, sessions }: AuthParts, fields: Record<string, unknown>): Session {
  const [code, verifier] = [textOf(fields.auth_code), textOf(fields.code_verifier)]
  if (code === undefined || verifier === undefined) {
    throw new AuthError(
      400,
      'validation_failed',
      'invalid request: both auth code and code verifier should be non-empty',
    )
  }
  const grant = codes.take(code)
  if (grant === undefined) {
    throw new AuthError(404, 'flow_state_not_found', 'invalid flow state, no valid flow state found')
  }
  if (createHash('sha256').update(verifier).digest('base64url') !== grant.challenge) {
    throw new AuthError(
      400,
      'bad_code_verifier',
      'code challenge does not match previously saved code verifier',
    )
  }
  return sessions.start(grant.account, grant.method)
}
