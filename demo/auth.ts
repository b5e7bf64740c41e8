import type { IncomingMessage, ServerResponse } from 'node:http'
import { errors } from 'jose'
import { accounts, demoPassword, userOf } from './accounts.ts'
import { AuthError, sendAuthError } from './auth-error.ts'
import { createIssuer, type Issuer, tokenLifetime } from './issuer.ts'
import { readJson, sendJson, splitTarget } from './json.ts'
import { type RunningService, type ServiceOptions, startService } from './service.ts'
import { type Session, Sessions } from './sessions.ts'

type Endpoint = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => unknown

export interface AuthService extends RunningService {
  /** What signs its tokens. */
  issuer: Issuer
}

/** An auth service with the paths, tokens and errors of Supabase Auth, for the accounts of the demo. */
export async function startAuth(options: ServiceOptions = {}): Promise<AuthService> {
  const sessions = new Sessions()
  const issuer = await createIssuer(() => service.url)

  const endpoints: Record<string, Record<string, Endpoint>> = {
    '/token': { POST: grant },
    '/user': { GET: showUser },
    '/logout': { POST: logout },
    '/.well-known/jwks.json': {
      GET: (_request, response) =>
        sendJson(response, 200, issuer.jwks, { 'Cache-Control': 'public, max-age=600' }),
    },
    '/health': {
      GET: (_request, response) =>
        sendJson(response, 200, { name: 'demo-auth', version: '1', description: 'Accounts of the demo' }),
    },
  }

  const service = await startService('auth', handle, options)
  return { ...service, issuer }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = splitTarget(request)
    try {
      const methods = endpoints[ownPath(path)]
      if (methods === undefined) throw new AuthError(404, 'not_found', 'Not Found')
      const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '')
      const endpoint = methods[method]
      if (endpoint === undefined) {
        response.setHeader('Allow', Object.keys(methods))
        throw new AuthError(405, 'method_not_allowed', 'Method Not Allowed')
      }
      await endpoint(request, response, query)
    } catch (error) {
      if (!(error instanceof AuthError)) throw error
      sendAuthError(request, response, error)
    }
  }

  async function grant(
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
  ): Promise<void> {
    const body = await readJson(request)
    if (body.kind !== 'object') {
      throw new AuthError(400, 'bad_json', 'Could not parse request body as JSON')
    }
    const session = grantedSession(query.get('grant_type'), body.fields)
    const { token, expiresAt } = await issuer.issue(session)
    const content = {
      access_token: token,
      token_type: 'bearer',
      expires_in: tokenLifetime,
      expires_at: expiresAt,
      refresh_token: session.refreshToken,
      user: userOf(session.account, session.startedAt.toISOString()),
    }
    sendJson(response, 200, content, { 'Cache-Control': 'no-store' })
  }

  function grantedSession(grantType: string | null, fields: Record<string, unknown>): Session {
    if (grantType === 'password') {
      const email = typeof fields.email === 'string' ? fields.email.toLowerCase() : undefined
      const account = accounts.find(known => known.email === email)
      if (account === undefined || fields.password !== demoPassword) {
        throw new AuthError(400, 'invalid_credentials', 'Invalid login credentials')
      }
      return sessions.start(account)
    }
    if (grantType === 'refresh_token') {
      if (typeof fields.refresh_token !== 'string') {
        throw new AuthError(400, 'validation_failed', 'A refresh_token is required')
      }
      const refreshed = sessions.refresh(fields.refresh_token)
      if (refreshed.kind === 'refreshed') return refreshed.session
      if (refreshed.kind === 'reused') {
        throw new AuthError(400, 'refresh_token_already_used', 'Invalid Refresh Token: Already Used')
      }
      throw new AuthError(400, 'refresh_token_not_found', 'Invalid Refresh Token: Refresh Token Not Found')
    }
    throw new AuthError(400, 'unsupported_grant_type', 'grant_type must be password or refresh_token')
  }

  async function showUser(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const session = await sessionOf(request)
    sendJson(response, 200, userOf(session.account, session.startedAt.toISOString()))
  }

  async function logout(
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
  ): Promise<void> {
    const scope = query.get('scope') ?? 'global'
    if (scope !== 'local' && scope !== 'others' && scope !== 'global') {
      throw new AuthError(400, 'validation_failed', 'scope must be local, others or global')
    }
    sessions.end(await sessionOf(request), scope)
    response.writeHead(204).end()
  }

  async function sessionOf(request: IncomingMessage): Promise<Session> {
    const token = /^bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) {
      throw new AuthError(401, 'no_authorization', 'This endpoint requires a valid Bearer token')
    }
    const claims = await issuer.verify(token).catch((error: unknown) => {
      if (!(error instanceof errors.JOSEError)) throw error
      throw new AuthError(403, 'bad_jwt', `invalid JWT: ${error.message}`)
    })
    const session = sessions.find(String(claims.session_id))
    if (session === undefined) {
      throw new AuthError(403, 'session_not_found', 'The session of this token has ended')
    }
    return session
  }
}

/**
 * The path as this service names it. The gateway forwards `/api/v1/auth/token` whole unless it is told to
 * strip its prefix, and supabase-js puts a `/v1` of its own before the endpoint.
 */
function ownPath(path: string): string {
  return path.replace(/^\/api\/v1\/auth(?=\/)/, '').replace(/^\/v1(?=\/)/, '')
}
