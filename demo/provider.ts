import type { IncomingMessage, ServerResponse } from 'node:http'
import { accounts, emailAddress } from './accounts.ts'
import { readText, sendDetail, splitTarget } from './json.ts'
import { OneTime } from './one-time.ts'
import { type RunningService, startService } from './service.ts'

/** As clients name it; the prefix is Supabase's own for providers that it does not know by name. */
export const providerName = 'custom:demo'

export interface Provider extends RunningService {
  /** Where to send a browser that shall come back with this state. */
  signInUrl(state: string): string
  /** Who gave consent, by the code that came back. Works once. */
  emailOf(code: string | null): string | undefined
}

/**
 * Somebody else who knows the users, as Google or Microsoft would: a page that asks who is there and sends the browser
 * back with a code. An origin of its own, like a real one.
 *
 * @param callback where browsers come back to: one address, and never one that the browser names
 */
export async function startProvider(callback: () => string): Promise<Provider> {
  const codes = new OneTime<string>(60)
  const service = await startService('provider', handle, {})
  return {
    ...service,
    signInUrl: state => `${service.url}/?state=${encodeURIComponent(state)}`,
    emailOf: code => codes.take(code),
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = splitTarget(request)
    if (path !== '/') return sendDetail(response, 404, 'Not Found')
    if (request.method === 'POST') return consent(request, response)
    if (request.method === 'GET') return ask(response, query.get('state') ?? '')
    return sendDetail(response, 405, 'Method Not Allowed', { Allow: 'GET, POST' })
  }

  function ask(response: ServerResponse, state: string): void {
    const body = page(state)
    response.writeHead(200, {
      'Content-Type': 'text/html; charset=utf-8',
      'Content-Length': Buffer.byteLength(body),
      'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    })
    response.end(body)
  }

  async function consent(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams((await readText(request)) ?? '')
    const email = form.get('email')?.trim().toLowerCase() ?? ''
    if (!emailAddress.test(email)) return sendDetail(response, 400, 'An e-mail address is required')
    const back = new URLSearchParams({ state: form.get('state') ?? '', code: codes.put(email) })
    response.writeHead(303, { Location: `${callback()}?${back}` }).end()
  }

  function page(state: string): string {
    const hidden = `<input type="hidden" name="state" value="${escaped(state)}">`
    const choices = accounts.map(
      ({ email }) =>
        `<form method="post">${hidden}<button name="email" value="${email}">${email}</button></form>`,
    )
    const denied = new URLSearchParams({ state, error: 'access_denied' })
    return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Demo provider</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 22rem; margin: 4rem auto; padding: 0 1rem }
  form { display: flex; gap: .5rem; margin: .5rem 0 }
  button, input { font: inherit; padding: .5rem .75rem; flex: 1; min-width: 0 }
</style>
<h1>Demo provider</h1>
<p>Who are you? No password is asked for: this stands for a provider that you have signed in to before.</p>
${choices.join('\n')}
<form method="post">${hidden}<input name="email" type="email" required aria-label="Another e-mail address"
  placeholder="you@company.example"><button>Continue</button></form>
<p><a href="${escaped(`${callback()}?${denied}`)}">Cancel</a></p>
</html>
`
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
