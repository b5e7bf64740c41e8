/** The real supabase-js in front of the gateway, in front of an auth service that answers as Supabase Auth does. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type AuthError, createClient, type Session, type SupabaseClient } from '@supabase/supabase-js'
import { demoPassword } from '../demo/accounts.ts'
import { type AuthService, startAuth } from '../demo/auth.ts'
import { startQuery } from '../demo/query.ts'
import type { RunningService } from '../demo/service.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'

/** The newer kind of key, which is no token: it stands in the header `apikey` alone. */
const KEY = 'sb_publishable_demo-key-of-nobody'
const PAGE = 'http://localhost:3000/'

for (const strip of ['true', undefined]) {
  const how = strip === undefined ? 'the whole path' : 'the path without its prefix'
  describe(`supabase-js, with ${how} forwarded`, { timeout: 60_000 }, () => {
    const sent: { email: string; link: string }[] = []
    let gateway: GatewayProcess
    let auth: AuthService
    let asking: AuthService
    let query: RunningService
    let askingGateway: GatewayProcess

    before(async () => {
      query = await startQuery()
      auth = await startAuth({ externalUrl: () => authOf(gateway), siteUrl: () => PAGE })
      asking = await startAuth({
        externalUrl: () => authOf(askingGateway),
        siteUrl: () => PAGE,
        sendConfirmation: (email, link) => sent.push({ email, link }),
      })
      ;[gateway, askingGateway] = await Promise.all([gatewayFor(auth), gatewayFor(asking)])
    })
    after(async () => {
      await Promise.all([gateway?.stop(), askingGateway?.stop()])
      await Promise.all([query, auth, asking].map(each => each?.close()))
    })

    it('signs up, and the new user has a company at once', async () => {
      const client = clientOf(gateway)
      const { data, error } = await client.auth.signUp({
        email: 'Dora@Initech.example',
        password: 'a good password',
        options: { data: { full_name: 'Dora' } },
      })
      assert.equal(error, null)
      assert.equal(data.user?.email, 'dora@initech.example')
      assert.equal(data.user?.user_metadata.full_name, 'Dora')
      assert.match(await companySeen(data.session), /^initech(-\d+)?$/)

      const again = await clientOf(gateway).auth.signUp({
        email: 'dora@initech.example',
        password: 'another password',
      })
      assert.deepEqual(worded(again.error), [422, 'user_already_exists'])
    })

    it('gives nobody the company of others by an address that anyone can type', async () => {
      const { data } = await clientOf(gateway).auth.signUp({
        email: 'mallory@acme.example',
        password: 'let me into acme',
      })
      assert.match(await companySeen(data.session), /^acme-\d+$/)
    })

    it('is told what is wrong with a sign-up', async () => {
      const signUp = async (email: string, password: string) =>
        (await clientOf(gateway).auth.signUp({ email, password })).error
      const weak = await signUp('new@initech.example', 'short')
      assert.deepEqual(worded(weak), [422, 'weak_password'])
      assert.equal(weak?.name, 'AuthWeakPasswordError')
      assert.deepEqual((weak as AuthError & { reasons: string[] }).reasons, ['length'])
      assert.deepEqual(worded(await signUp('no address', 'a good password')), [400, 'validation_failed'])
      const { error } = await clientOf(gateway).auth.signInAnonymously()
      assert.deepEqual(worded(error), [422, 'anonymous_provider_disabled'])
    })

    it('signs in with a password, sees its user and its claims', async () => {
      const client = await signedIn('ana@acme.example')
      const user = await client.auth.getUser()
      assert.equal(user.data.user?.email, 'ana@acme.example')
      assert.equal(user.data.user?.app_metadata.company_id, 'acme')
      assert.equal(user.data.user?.identities?.[0]?.provider, 'email')
      const claims = await client.auth.getClaims()
      assert.equal(claims.data?.claims.app_metadata?.company_id, 'acme', 'verified with the key set')

      const wrong = await clientOf(gateway).auth.signInWithPassword({
        email: 'ana@acme.example',
        password: 'guess',
      })
      assert.deepEqual(worded(wrong.error), [400, 'invalid_credentials'])
      assert.equal(wrong.error?.message, 'Invalid login credentials')
    })

    it('works the same with a key that is a token, as older projects have', async () => {
      const client = clientOf(gateway, await auth.issuer.serviceKey())
      const { data, error } = await client.auth.signInWithPassword({
        email: 'carla@globex.example',
        password: demoPassword,
      })
      assert.equal(error, null)
      assert.equal(await companySeen(data.session), 'globex')
    })

    it('refreshes its session, and each refresh token works once', async () => {
      const client = await signedIn('bruno@acme.example')
      const first = (await client.auth.getSession()).data.session
      const { data, error } = await client.auth.refreshSession()
      assert.equal(error, null)
      assert.notEqual(data.session?.refresh_token, first?.refresh_token)
      assert.equal(await companySeen(data.session), 'acme')
      const stolen = await clientOf(gateway).auth.refreshSession({ refresh_token: first!.refresh_token })
      assert.deepEqual(worded(stolen.error), [400, 'refresh_token_already_used'])
    })

    it('changes what the user may change, and no more', async () => {
      const client = clientOf(gateway)
      const email = 'erik@umbrella.example'
      await client.auth.signUp({ email, password: 'first password' })
      const { data, error } = await client.auth.updateUser({
        password: 'second password',
        data: { company_id: 'acme' },
      })
      assert.equal(error, null)
      assert.equal(data.user?.user_metadata.company_id, 'acme')
      assert.notEqual(data.user?.app_metadata.company_id, 'acme')
      const same = await client.auth.updateUser({ password: 'second password' })
      assert.deepEqual(worded(same.error), [422, 'same_password'])

      const signIn = (password: string) => clientOf(gateway).auth.signInWithPassword({ email, password })
      assert.deepEqual(worded((await signIn('first password')).error), [400, 'invalid_credentials'])
      const later = await signIn('second password')
      assert.notEqual(await companySeen(later.data.session), 'acme', 'a user writes no company for itself')
    })

    for (const scope of ['local', 'global'] as const) {
      it(`signs out (${scope}), and the access token opens nothing any more`, async () => {
        const client = await signedIn('ana@acme.example')
        const { data } = await client.auth.getSession()
        assert.equal(await companySeen(data.session), 'acme')
        assert.equal((await client.auth.signOut({ scope })).error, null)
        assert.equal((await client.auth.getSession()).data.session, null)

        const refused = await ask(data.session)
        assert.equal(refused.status, 401)
        assert.equal(((await refused.json()) as { code?: string }).code, 'token_revoked')
        const refreshed = await clientOf(gateway).auth.refreshSession({
          refresh_token: data.session!.refresh_token,
        })
        assert.deepEqual(worded(refreshed.error), [400, 'refresh_token_not_found'])
      })
    }

    it('signs out its other sessions and keeps its own', async () => {
      const [one, other] = [await signedIn('carla@globex.example'), await signedIn('carla@globex.example')]
      const otherSession = (await other.auth.getSession()).data.session
      assert.equal((await one.auth.signOut({ scope: 'others' })).error, null)
      assert.equal((await one.auth.getUser()).data.user?.email, 'carla@globex.example')
      assert.equal(await companySeen((await one.auth.getSession()).data.session), 'globex')
      assert.equal((await ask(otherSession)).status, 401)
      const { error } = await other.auth.refreshSession({ refresh_token: otherSession!.refresh_token })
      assert.deepEqual(worded(error), [400, 'refresh_token_not_found'])
    })

    it('signs in by way of a provider: redirects, a code, and the secret behind its challenge', async () => {
      const client = clientOf(gateway, KEY, 'pkce')
      const back = await throughProvider(client, `${PAGE}welcome?from=test`, 'frida@hooli.example')
      assert.equal(`${back.origin}${back.pathname}`, `${PAGE}welcome`)
      assert.equal(back.searchParams.get('from'), 'test')
      assert.equal(back.hash, '')
      const code = back.searchParams.get('code')!

      const thief = clientOf(gateway, KEY, 'pkce')
      await thief.auth.signInWithOAuth({ provider: 'custom:demo', options: { skipBrowserRedirect: true } })
      assert.deepEqual(worded((await thief.auth.exchangeCodeForSession(code)).error), [
        400,
        'bad_code_verifier',
      ])

      const again = await throughProvider(client, PAGE, 'frida@hooli.example')
      const { data, error } = await client.auth.exchangeCodeForSession(again.searchParams.get('code')!)
      assert.equal(error, null)
      assert.equal(data.user?.email, 'frida@hooli.example')
      assert.equal(data.user?.app_metadata.provider, 'custom:demo')
      assert.match(await companySeen(data.session), /^hooli(-\d+)?$/)
    })

    it('takes a code once', async () => {
      const client = clientOf(gateway, KEY, 'pkce')
      const back = await throughProvider(client, PAGE, 'ana@acme.example')
      const token = (verifier: string) =>
        fetch(`${gateway.url}/api/v1/auth/v1/token?grant_type=pkce`, {
          method: 'POST',
          body: JSON.stringify({ auth_code: back.searchParams.get('code'), code_verifier: verifier }),
        })
      assert.equal((await token('a guess')).status, 400)
      const { error } = await client.auth.exchangeCodeForSession(back.searchParams.get('code')!)
      assert.deepEqual(worded(error), [404, 'flow_state_not_found'])
    })

    it('signs in by way of a provider without a code: the session stands in the fragment', async () => {
      const back = await throughProvider(clientOf(gateway), PAGE, 'bruno@acme.example')
      const values = new URLSearchParams(back.hash.slice(1))
      const { data, error } = await clientOf(gateway).auth.setSession({
        access_token: values.get('access_token')!,
        refresh_token: values.get('refresh_token')!,
      })
      assert.equal(error, null)
      assert.equal(values.get('token_type'), 'bearer')
      assert.equal(await companySeen(data.session), 'acme')
    })

    it('comes back from a provider with an error when the user declines', async () => {
      const { data } = await clientOf(gateway, KEY, 'pkce').auth.signInWithOAuth({
        provider: 'custom:demo',
        options: { redirectTo: PAGE },
      })
      const provider = await redirectOf(data.url!)
      const state = provider.searchParams.get('state')
      const back = await redirectOf(`${authOf(gateway)}/callback?state=${state}&error=access_denied`)
      assert.equal(back.origin, new URL(PAGE).origin)
      assert.equal(back.searchParams.get('error'), 'access_denied')
    })

    it('is sent to no page of strangers, and to no provider that is not known', async () => {
      for (const stranger of [
        'https://evil.example/',
        'javascript:alert(1)',
        'http://localhost@evil.example/',
      ]) {
        const back = await throughProvider(clientOf(gateway), stranger, 'ana@acme.example')
        assert.equal(back.origin, new URL(PAGE).origin, stranger)
      }
      const unknown = await fetch(`${authOf(gateway)}/authorize?provider=nobody`, { redirect: 'manual' })
      assert.equal(unknown.status, 400)
    })

    it('signs up where addresses are confirmed: by the link in an e-mail', async () => {
      const client = clientOf(askingGateway, KEY, 'pkce')
      const credentials = { email: 'gina@stark.example', password: 'a good password' }
      const { data, error } = await client.auth.signUp({
        ...credentials,
        options: { emailRedirectTo: `${PAGE}confirmed` },
      })
      assert.equal(error, null)
      assert.equal(data.session, null)
      assert.equal(data.user?.email, credentials.email)
      const early = await clientOf(askingGateway).auth.signInWithPassword(credentials)
      assert.deepEqual(worded(early.error), [400, 'email_not_confirmed'])

      const { link } = sent.findLast(({ email }) => email === credentials.email)!
      const back = await redirectOf(link)
      assert.equal(back.pathname, '/confirmed')
      const exchanged = await client.auth.exchangeCodeForSession(back.searchParams.get('code')!)
      assert.equal(exchanged.data.user?.email_confirmed_at !== undefined, true)
      assert.match(await companySeen(exchanged.data.session, askingGateway), /^stark(-\d+)?$/)
      assert.equal((await clientOf(askingGateway).auth.signInWithPassword(credentials)).error, null)

      const used = await redirectOf(link)
      assert.match(used.hash, /error_code=otp_expired/)
      const taken = await clientOf(askingGateway).auth.signUp(credentials)
      assert.deepEqual(taken.data.user?.identities, [], 'nobody learns who is registered')
    })

    it('finds the admin endpoints closed, even with the key that opens them', async () => {
      const key = await auth.issuer.serviceKey()
      const listed = await fetch(`${auth.url}/admin/users`, { headers: { Authorization: `Bearer ${key}` } })
      assert.equal(listed.status, 200)
      assert.ok(((await listed.json()) as { users: unknown[] }).users.length >= 4)
      assert.equal((await fetch(`${auth.url}/admin/users`)).status, 401)

      const { error } = await clientOf(gateway, key).auth.admin.listUsers()
      assert.deepEqual(worded(error), [403, 'auth_admin_closed'])
      assert.equal(error?.message, 'This path of the auth service is closed at the gateway.')
      const closed = await fetch(`${authOf(gateway)}/admin/users`, {
        headers: { Authorization: `Bearer ${key}` },
      })
      assert.equal(((await closed.json()) as { code?: string }).code, 'auth_admin_closed')
    })

    it('tells what the auth service offers', async () => {
      const settings = await fetch(`${authOf(gateway)}/settings`, { headers: { apikey: KEY } })
      const { mailer_autoconfirm: autoconfirm } = (await settings.json()) as { mailer_autoconfirm: boolean }
      assert.equal(autoconfirm, true)
      assert.equal((await fetch(`${authOf(gateway)}/health`)).status, 200)
    })

    function gatewayFor(service: AuthService): Promise<GatewayProcess> {
      return startGateway({
        env: {
          GATEWAY_QUERY_SERVICE_URL: query.url,
          GATEWAY_AUTH_SERVICE_URL: service.url,
          GATEWAY_AUTH_STRIP_PREFIX: strip,
          GATEWAY_JWKS_URL: `${service.url}/.well-known/jwks.json`,
          GATEWAY_JWT_ISSUER: service.url,
        },
      })
    }

    async function signedIn(email: string): Promise<SupabaseClient> {
      const client = clientOf(gateway)
      const { error } = await client.auth.signInWithPassword({ email, password: demoPassword })
      assert.equal(error, null)
      return client
    }

    /** As a browser goes: to the provider, says who it is, and comes back. */
    async function throughProvider(client: SupabaseClient, redirectTo: string, email: string): Promise<URL> {
      const { data, error } = await client.auth.signInWithOAuth({
        provider: 'custom:demo',
        options: { redirectTo },
      })
      assert.equal(error, null)
      const provider = await redirectOf(data.url!)
      assert.notEqual(provider.origin, gateway.url, 'away from the gateway')
      const page = await (await fetch(provider)).text()
      const [, state = ''] = /name="state" value="([^"]+)"/.exec(page) ?? []
      const consent = await redirectOf(provider, {
        method: 'POST',
        body: new URLSearchParams({ state, email }),
      })
      assert.ok(consent.href.startsWith(`${authOf(gateway)}/callback?`), 'comes back through the gateway')
      return redirectOf(consent)
    }

    async function companySeen(session: Session | null, through = gateway): Promise<string> {
      const answer = await ask(session, through)
      assert.equal(answer.status, 200, await answer.clone().text())
      const { headers } = (await answer.json()) as { headers: [string, string][] }
      return headers.find(([name]) => name.toLowerCase() === 'x-company-id')?.[1] ?? ''
    }

    function ask(session: Session | null, through = gateway): Promise<Response> {
      return fetch(`${through.url}/api/v1/query/echo`, {
        headers: { Authorization: `Bearer ${session?.access_token}` },
      })
    }
  })
}

function authOf(gateway: GatewayProcess): string {
  return `${gateway.url}/api/v1/auth/v1`
}

function clientOf(
  gateway: GatewayProcess,
  key = KEY,
  flowType: 'implicit' | 'pkce' = 'implicit',
): SupabaseClient {
  return createClient(`${gateway.url}/api/v1`, key, {
    auth: { persistSession: false, autoRefreshToken: false, flowType },
  })
}

function worded(error: { status?: number | undefined; code?: string | undefined } | null) {
  return [error?.status, error?.code]
}

async function redirectOf(url: string | URL, init: RequestInit = {}): Promise<URL> {
  const answer = await fetch(url, { ...init, redirect: 'manual' })
  assert.ok(answer.status >= 300 && answer.status < 400, `${url}: ${answer.status}`)
  assert.equal(answer.headers.get('cache-control')?.includes('public') ?? false, false)
  return new URL(answer.headers.get('location') ?? '', url)
}
