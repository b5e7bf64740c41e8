import type { IncomingMessage, ServerResponse } from 'node:http'
import { AccountStore } from './account-store.ts'
import { AuthError, sendAuthError } from './auth-error.ts'
import type { AuthParts, Endpoints } from './auth-parts.ts'
import { redirects } from './auth-redirects.ts'
import { tokenEndpoints } from './auth-token.ts'
import { userEndpoints } from './auth-users.ts'
import { createIssuer, type Issuer } from './issuer.ts'
import { sendJson, splitTarget } from './json.ts'
import { OneTime } from './one-time.ts'
import { providerName, startProvider } from './provider.ts'
import { type RunningService, type ServiceOptions, startService } from './service.ts'
import { Sessions } from './sessions.ts'

export interface AuthOptions extends ServiceOptions {
  /** Where clients reach it, asked for when needed (its own address): the gateway's port is known late. */
  externalUrl?: () => string
  /** The page that browsers come back to when they name no other (its own address). */
  siteUrl?: () => string
  /** Gets the e-mail that new users have to answer. Absent: their word is taken for it. */
  sendConfirmation?: (email: string, link: string) => void
}

export interface AuthService extends RunningService {
  /** What signs its tokens. */
  issuer: Issuer
}

/** An auth service with the paths, tokens and errors of Supabase Auth, for the accounts of the demo. */
export async function startAuth(options: AuthOptions = {}): Promise<AuthService> {
  const issuer = await createIssuer(() => service.url)
  const externalUrl = options.externalUrl ?? (() => service.url)
  const parts: AuthParts = {
    accounts: await AccountStore.open(),
    sessions: new Sessions(),
    issuer,
    codes: new OneTime(5 * 60),
    externalUrl,
    siteUrl: options.siteUrl ?? (() => service.url),
    sendConfirmation: options.sendConfirmation ?? null,
  }
  const provider = await startProvider(() => `${externalUrl()}/callback`)
  const { endpoints: comings, links } = redirects(parts, provider)
  const endpoints: Endpoints = {
    ...tokenEndpoints(parts),
    ...userEndpoints(parts, links),
    ...comings,
    ...aboutItself(parts),
  }
  const service = await startService('auth', handle, options)
  return {
    ...service,
    issuer,
    async close() {
      await Promise.all([service.close(), provider.close()])
    },
  }

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
      await endpoint({ request, response, query })
    } catch (error) {
      if (!(error instanceof AuthError)) throw error
      sendAuthError(request, response, error)
    }
  }
}

/** What clients ask before anybody signs in. */
function aboutItself({ issuer, sendConfirmation }: AuthParts): Endpoints {
  const settings = {
    external: { email: true, phone: false, anonymous_users: false, [providerName]: true },
    disable_signup: false,
    mailer_autoconfirm: sendConfirmation === null,
    phone_autoconfirm: false,
    sms_provider: '',
    saml_enabled: false,
  }
  const description = { name: 'demo-auth', version: '1', description: 'Accounts of the demo' }
  return {
    '/.well-known/jwks.json': {
      GET: ({ response }) => sendJson(response, 200, issuer.jwks, { 'Cache-Control': 'public, max-age=600' }),
    },
    '/health': { GET: ({ response }) => sendJson(response, 200, description) },
    '/settings': { GET: ({ response }) => sendJson(response, 200, settings) },
  }
}

/**
 * The path as this service names it. The gateway forwards `/api/v1/auth/token` whole unless it is told to
 * strip its prefix, and supabase-js puts a `/v1` of its own before the endpoint.
 */
function ownPath(path: string): string {
  return path.replace(/^\/api\/v1\/auth(?=\/)/, '').replace(/^\/v1(?=\/)/, '')
}
