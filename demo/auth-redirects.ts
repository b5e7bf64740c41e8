import type { Account } from './accounts.ts'
import { AuthError } from './auth-error.ts'
import { type AuthExchange, type AuthParts, challengeOf, type Endpoints } from './auth-parts.ts'
import { sessionContent } from './auth-token.ts'
import { sendJson } from './json.ts'
import { OneTime } from './one-time.ts'
import { type Provider, providerName } from './provider.ts'
import { allowedRedirect, withFragment, withQuery } from './redirects.ts'
import type { SignInMethod } from './sessions.ts'

/** Where a browser that was sent away comes back to, and how it gets its session there. */
interface Flow {
  readonly redirectTo: URL
  /** Null: the session itself stands in the fragment (the implicit flow). */
  readonly challenge: string | null
}

export interface EmailLinks {
  confirmation(account: Account, challenge: string | null, redirectTo: string | null): string
}

/** Signing in by way of somebody else: a provider, or a link in an e-mail. */
export function redirects(parts: AuthParts, provider: Provider): { endpoints: Endpoints; links: EmailLinks } {
  const { accounts, codes, sessions } = parts
  const away = new OneTime<Flow>(10 * 60)
  const confirmations = new OneTime<Flow & { account: Account }>(24 * 60 * 60)

  return {
    endpoints: {
      '/authorize': { GET: authorize },
      '/callback': { GET: callback },
      '/verify': { GET: verify },
    },
    links: {
      confirmation(account, challenge, redirectTo) {
        const token = confirmations.put({ account, challenge, redirectTo: allowed(redirectTo) })
        return `${parts.externalUrl()}/verify?token=${token}&type=signup`
      },
    },
  }

  function authorize({ response, query }: AuthExchange): void {
    const name = query.get('provider') ?? ''
    if (name !== providerName) {
      throw new AuthError(
        400,
        'validation_failed',
        `Unsupported provider: provider ${name} could not be found`,
      )
    }
    const challenge = challengeOf(query.get('code_challenge'), query.get('code_challenge_method'))
    const state = away.put({ challenge, redirectTo: allowed(query.get('redirect_to')) })
    const url = provider.signInUrl(state)
    // For clients that open the page themselves.
    if (query.get('skip_http_redirect') === 'true') sendJson(response, 200, { url })
    else redirect(response, url)
  }

  async function callback({ response, query }: AuthExchange): Promise<void> {
    const flow = away.take(query.get('state'))
    if (flow === undefined) {
      throw new AuthError(400, 'bad_oauth_state', 'OAuth state not found or expired')
    }
    const email = provider.emailOf(query.get('code'))
    if (email === undefined) {
      return redirect(response, refused(flow, 'access_denied', 'The user denied the request'))
    }
    const account =
      accounts.find(email) ??
      (await accounts.create({ email, provider: providerName, confirmed: true, metadata: {} }))
    if (account === null) {
      return redirect(response, refused(flow, 'signup_disabled', 'Signups not allowed for this instance'))
    }
    // The provider vouches for the address, as a link in an e-mail would.
    account.confirmedAt ??= new Date().toISOString()
    redirect(response, await landing(flow, account, 'oauth'))
  }

  async function verify({ response, query }: AuthExchange): Promise<void> {
    const found = confirmations.take(query.get('token'))
    if (found === undefined) {
      const nowhere = { redirectTo: allowed(query.get('redirect_to')), challenge: null }
      return redirect(response, refused(nowhere, 'otp_expired', 'Email link is invalid or has expired'))
    }
    found.account.confirmedAt ??= new Date().toISOString()
    redirect(response, await landing(found, found.account, 'otp'))
  }

  async function landing({ redirectTo, challenge }: Flow, account: Account, method: SignInMethod) {
    if (challenge !== null) return withQuery(redirectTo, { code: codes.put({ account, challenge, method }) })
    const { user: _, ...session } = await sessionContent(parts, sessions.start(account, method))
    const values = Object.entries(session).map(([name, value]) => [name, String(value)])
    return withFragment(redirectTo, Object.fromEntries(values))
  }

  function allowed(redirectTo: string | null): URL {
    return allowedRedirect(redirectTo, parts.siteUrl())
  }
}

function refused({ redirectTo, challenge }: Flow, code: string, description: string): string {
  const values = { error: 'access_denied', error_code: code, error_description: description }
  return challenge === null ? withFragment(redirectTo, values) : withQuery(redirectTo, values)
}

function redirect(response: AuthExchange['response'], url: string): void {
  // 303: whatever was sent here, the browser fetches the next page. What it carries is for this browser alone.
  response.writeHead(303, { Location: url, 'Cache-Control': 'no-store' }).end()
}
