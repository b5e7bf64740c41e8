import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { startAuth } from './auth.ts'
import type { RunningService } from './service.ts'

// biome-ignore lint/suspicious/noExplicitAny: an answer over the wire has no type until it is checked
type Json = any

async function json(response: Response): Promise<Json> {
  return response.json()
}

describe('auth service', () => {
  let service: RunningService
  before(async () => {
    service = await startAuth()
  })
  after(() => service.close())

  it('signs in and issues an ES256 token that its key set verifies', async () => {
    const { status, content } = await signIn('Ana@Acme.example')
    assert.equal(status, 200)
    assert.equal(content.token_type, 'bearer')
    assert.equal(content.expires_in, 3600)
    assert.equal(content.user.email, 'ana@acme.example')
    assert.deepEqual(content.user.app_metadata, {
      provider: 'email',
      providers: ['email'],
      company_id: 'acme',
    })

    const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', service.url))
    const { payload, protectedHeader } = await jwtVerify(content.access_token, keys, {
      algorithms: ['ES256'],
      issuer: service.url,
      audience: 'authenticated',
      requiredClaims: ['sub', 'exp', 'iat'],
    })
    assert.equal(typeof protectedHeader.kid, 'string')
    assert.equal(payload.exp, content.expires_at)
    assert.equal(payload.exp, (payload.iat ?? 0) + 3600)
    assert.match(payload.sub ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    assert.deepEqual(Object.keys(payload).sort(), [
      ...['aal', 'amr', 'app_metadata', 'aud', 'email', 'exp', 'iat', 'is_anonymous', 'iss', 'phone'],
      ...['role', 'session_id', 'sub', 'user_metadata'],
    ])
    assert.deepEqual(payload.app_metadata, content.user.app_metadata)
  })

  it('publishes no private key, and another one at each start', async () => {
    const published = await json(await fetch(`${service.url}/.well-known/jwks.json`))
    assert.equal(published.keys.length, 1)
    const [key] = published.keys
    assert.deepEqual(Object.keys(key).sort(), ['alg', 'crv', 'key_ops', 'kid', 'kty', 'use', 'x', 'y'])

    const other = await startAuth()
    const [otherKey] = (await json(await fetch(`${other.url}/.well-known/jwks.json`))).keys
    await other.close()
    assert.notEqual(otherKey.kid, key.kid)
    assert.notEqual(otherKey.x, key.x)
    const { content } = await signIn('ana@acme.example')
    assert.equal(decodeProtectedHeader(content.access_token).kid, key.kid)
  })

  it('knows users of two companies and one of none', async () => {
    for (const [email, company] of [
      ['bruno@acme.example', 'acme'],
      ['carla@globex.example', 'globex'],
      ['nadie@example.com', undefined],
    ] as const) {
      const { content } = await signIn(email)
      assert.equal(content.user.app_metadata.company_id, company, email)
    }
  })

  it('serves the same under the prefix of the gateway, with and without the /v1 of supabase-js', async () => {
    for (const prefix of ['', '/v1', '/api/v1/auth', '/api/v1/auth/v1']) {
      assert.equal((await signIn('ana@acme.example', 'demo-password', prefix)).status, 200, prefix)
    }
    assert.equal((await signIn('ana@acme.example', 'demo-password', '/api/v1/auth/v1/v1')).status, 404)
  })

  it('shows the user of a token and ends the session on logout', async () => {
    const { content } = await signIn('carla@globex.example')
    const bearer = { Authorization: `Bearer ${content.access_token}` }
    const shown = await fetch(`${service.url}/user`, { headers: bearer })
    assert.deepEqual(await json(shown), content.user)

    const out = await fetch(`${service.url}/logout?scope=local`, { method: 'POST', headers: bearer })
    assert.equal(out.status, 204)
    const gone = await fetch(`${service.url}/user`, { headers: bearer })
    assert.equal(gone.status, 403)
    assert.equal((await json(gone)).error_code, 'session_not_found')
    assert.equal((await refresh(content.refresh_token)).content.error_code, 'refresh_token_not_found')
  })

  it('ends the sessions that the scope of the logout names', async () => {
    const signedIn = async () => (await signIn('bruno@acme.example')).content
    const [first, second, third, other] = [
      await signedIn(),
      await signedIn(),
      await signedIn(),
      (await signIn('ana@acme.example')).content,
    ]
    const logout = (session: Json, scope: string) =>
      fetch(`${service.url}/logout${scope}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${session.access_token}` },
      })
    assert.equal((await logout(first, '?scope=others')).status, 204)
    assert.equal((await refresh(second.refresh_token)).status, 400)
    assert.equal((await refresh(third.refresh_token)).status, 400)
    assert.equal((await logout(first, '?scope=everything')).status, 400)
    assert.equal((await logout(first, '')).status, 204)
    assert.equal((await refresh(first.refresh_token)).status, 400)
    assert.equal((await refresh(other.refresh_token)).status, 200, 'another user stays signed in')
  })

  it('takes each refresh token once and ends the session when one comes back', async () => {
    const first = (await signIn('ana@acme.example')).content
    const second = await refresh(first.refresh_token)
    assert.equal(second.status, 200)
    assert.notEqual(second.content.refresh_token, first.refresh_token)
    assert.equal(second.content.user.id, first.user.id)

    const stolen = await refresh(first.refresh_token)
    assert.equal(stolen.status, 400)
    assert.equal(stolen.content.error_code, 'refresh_token_already_used')
    const third = await refresh(second.content.refresh_token)
    assert.equal(third.content.error_code, 'refresh_token_not_found')
  })

  it('words its errors as Supabase Auth does, in both of its shapes', async () => {
    const wrong = await signIn('ana@acme.example', 'guess')
    assert.equal(wrong.status, 400)
    assert.deepEqual(wrong.content, {
      code: 400,
      error_code: 'invalid_credentials',
      msg: 'Invalid login credentials',
    })
    assert.deepEqual((await signIn('who@acme.example')).content, wrong.content)

    const newer = await fetch(`${service.url}/user`, { headers: { 'X-Supabase-Api-Version': '2024-01-01' } })
    assert.equal(newer.status, 401)
    assert.equal(newer.headers.get('x-supabase-api-version'), '2024-01-01')
    const { code, message } = await json(newer)
    assert.equal(code, 'no_authorization')
    assert.equal(typeof message, 'string')

    const forged = await fetch(`${service.url}/user`, { headers: { Authorization: 'Bearer a.b.c' } })
    assert.equal(forged.status, 403)
    assert.equal((await json(forged)).error_code, 'bad_jwt')

    const notJson = await fetch(`${service.url}/token?grant_type=password`, { method: 'POST', body: '{' })
    assert.equal((await json(notJson)).error_code, 'bad_json')
    const noGrant = await fetch(`${service.url}/token?grant_type=magic`, { method: 'POST', body: '{}' })
    assert.equal((await json(noGrant)).error_code, 'unsupported_grant_type')
    const wrongMethod = await fetch(`${service.url}/token`)
    assert.equal(wrongMethod.status, 405)
    assert.equal(wrongMethod.headers.get('allow'), 'POST')
    assert.equal((await fetch(`${service.url}/health`)).status, 200)
  })

  async function signIn(email: string, password = 'demo-password', prefix = '') {
    return post(`${prefix}/token?grant_type=password`, { email, password })
  }

  async function refresh(token: string) {
    return post('/token?grant_type=refresh_token', { refresh_token: token })
  }

  async function post(path: string, body: unknown): Promise<{ status: number; content: Json }> {
    const response = await fetch(service.url + path, { method: 'POST', body: JSON.stringify(body) })
    return { status: response.status, content: await json(response) }
  }
})
