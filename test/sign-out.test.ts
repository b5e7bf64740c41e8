/** Whoever signs out through the gateway has tokens refused from then on, in every worker, long before they expire. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw } from './support/raw.ts'
import { type ClaimSet, claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const SIGNED_OUT = 'HTTP/1.1 204 No Content\r\nX-Supabase-Api-Version: 2024-01-01\r\n\r\n'
const FAILED = 'HTTP/1.1 403 Forbidden\r\nContent-Length: 32\r\n\r\n{"error_code":"session_expired"}'

let gateway: GatewayProcess
let auth: RecordingUpstream

before(async () => {
  auth = await recordingUpstream(({ target, socket }) => {
    socket.write(target.includes('fail') ? FAILED : SIGNED_OUT)
  })
  gateway = await startConfigured(
    {
      upstreams: { auth: { url: auth.url } },
      routes: [
        { path: '/auth/*', auth: 'none', upstream: 'auth', stripPrefix: true, authService: true },
        { path: '/other/*', auth: 'none', upstream: 'auth', stripPrefix: true },
        { path: '/guarded-auth/*', upstream: 'auth', authService: true },
        { path: '/mine', respond: { body: 'mine' } },
      ],
    },
    { GATEWAY_ADMIN_PORT: '0' },
  )
})
after(async () => {
  await gateway?.stop()
  await auth?.close()
})

const seconds = (): number => Math.floor(Date.now() / 1000)
let users = 0
/** A user of whom no other test knows. */
const newUser = (): string => `user-${users++}`

/** A token issued a minute ago. */
function issued(over: ClaimSet): string {
  return token(claims({ iat: seconds() - 60, ...over }))
}

/** Of enough new connections for all workers to be asked. */
async function statuses(signed: string): Promise<number[]> {
  const asked = Array.from({ length: 12 }, () => send(`${gateway.url}/mine`, { headers: bearer(signed) }))
  return [...new Set((await Promise.all(asked)).map(({ status }) => status))]
}

const post = (path: string, authorization: string) =>
  send(`${gateway.url}${path}`, { method: 'POST', headers: { authorization } })

async function signOut(signed: string, query = '', path = '/auth/logout'): Promise<void> {
  const answer = await post(path + query, `Bearer ${signed}`)
  assert.equal(answer.status, 204)
  assert.deepEqual(answer.values('x-supabase-api-version'), ['2024-01-01'])
}

// Each of these waits for the end of a second, so they wait together.
describe('signing out', { concurrency: true }, () => {
  for (const query of ['', '?scope=global', '?scope=', '?scope=Local', '?scope=global&scope=local', '?x=1']) {
    test(`signing out with ${query || 'no scope'} refuses all tokens that the user has`, async () => {
      const sub = newUser()
      const here = issued({ sub, session_id: `${sub}-here` })
      const there = issued({ sub, session_id: `${sub}-there` })
      const other = issued({ sub: newUser(), session_id: `${sub}-other` })
      assert.deepEqual(await statuses(here), [200])
      assert.deepEqual(await statuses(there), [200])
      await signOut(here, query)
      assert.deepEqual(await statuses(here), [401])
      assert.deepEqual(await statuses(there), [401])
      assert.deepEqual(await statuses(other), [200])
      const refusal = await send(`${gateway.url}/mine`, { headers: bearer(here) })
      assert.equal(refusal.json().code, 'token_revoked')
    })
  }

  for (const path of ['/auth/v1/logout', '/auth/logout/', '/guarded-auth/logout']) {
    test(`a sign-out at ${path} is heard`, async () => {
      const signed = issued({ sub: newUser() })
      await signOut(signed, '', path)
      assert.deepEqual(await statuses(signed), [401])
    })
  }
})

describe('signing out of some sessions', { concurrency: true }, () => {
  test('refuses its tokens, refreshed ones too, and no others', async () => {
    const sub = newUser()
    const here = { sub, session_id: `${sub}-here` }
    const there = issued({ sub, session_id: `${sub}-there` })
    await signOut(issued(here), '?scope=local')
    assert.deepEqual(await statuses(issued(here)), [401])
    assert.deepEqual(await statuses(token(claims({ ...here, iat: seconds() + 20 }))), [401])
    assert.deepEqual(await statuses(there), [200])
  })

  test('refuses what the user has so far when the token names no session', async () => {
    const sub = newUser()
    const signed = issued({ sub })
    await signOut(signed, '?scope=local')
    assert.deepEqual(await statuses(signed), [401])
    assert.deepEqual(await statuses(issued({ sub, session_id: 'another' })), [401])
    assert.deepEqual(await statuses(token(claims({ sub, iat: seconds() + 2 }))), [200])
  })

  test('signing out of other sessions leaves this one, until the next sign-out', async () => {
    const sub = newUser()
    const here = issued({ sub, session_id: `${sub}-here` })
    const there = issued({ sub, session_id: `${sub}-there` })
    await signOut(here, '?scope=others')
    assert.deepEqual(await statuses(here), [200])
    assert.deepEqual(await statuses(there), [401])
    const later = token(claims({ sub, session_id: `${sub}-later` }))
    assert.deepEqual(await statuses(later), [200])
    await signOut(later)
    assert.deepEqual(await statuses(here), [401])
  })

  test('who signs in again right after signing out has a token that passes', async () => {
    const sub = newUser()
    for (let round = 0; round < 3; round++) {
      const signed = token(claims({ sub, session_id: `${sub}-${round}` }))
      assert.deepEqual(await statuses(signed), [200], `sign-in ${round}`)
      await signOut(signed)
      assert.deepEqual(await statuses(signed), [401])
    }
  })

  test('tokens that do not say when they were issued are refused as well', async () => {
    const sub = newUser()
    const signed = token(claims({ sub, iat: undefined }))
    assert.deepEqual(await statuses(signed), [200])
    await signOut(signed)
    assert.deepEqual(await statuses(signed), [401])
  })

  test('a token of an issuer whose clock is ahead is refused as well', async () => {
    const sub = newUser()
    const signed = token(claims({ sub, iat: seconds() + 20 }))
    assert.deepEqual(await statuses(signed), [200])
    await signOut(signed)
    assert.deepEqual(await statuses(signed), [401])
  })
})

describe('nothing is revoked', () => {
  const victim = (): string => issued({ sub: newUser() })

  test('by a sign-out that the auth service refused, whose answer passes', async () => {
    const signed = victim()
    const answer = await post('/auth/logout?fail', `Bearer ${signed}`)
    assert.equal(answer.status, 403)
    assert.equal(answer.text, '{"error_code":"session_expired"}')
    assert.deepEqual(await statuses(signed), [200])
  })

  for (const [what, path, method] of [
    ['another method', '/auth/logout', 'GET'],
    ['another path', '/auth/logout/all', 'POST'],
    ['a path that only ends like it', '/auth/my-logout', 'POST'],
    ['a route that is not the auth service’s', '/other/logout', 'POST'],
  ] as const) {
    test(`by ${what}`, async () => {
      const signed = victim()
      const answer = await send(`${gateway.url}${path}`, { method, headers: bearer(signed) })
      assert.equal(answer.status, 204)
      assert.deepEqual(await statuses(signed), [200])
    })
  }

  const forms: [what: string, authorization: (signed: string, sub: string) => string][] = [
    ['a token with another signature', (_, sub) => `Bearer ${forged({ sub })}`],
    ['an expired token', (_, sub) => `Bearer ${issued({ sub, exp: seconds() - 40 })}`],
    ['a token of another audience', (_, sub) => `Bearer ${issued({ sub, aud: 'others' })}`],
    ['a token cut short', signed => `Bearer ${signed.slice(0, -1)}`],
    ['an opaque key', () => 'Bearer sb_publishable_x'],
    ['another scheme', signed => `Basic ${signed}`],
    ['no token', () => ''],
  ]
  for (const [what, authorization] of forms) {
    test(`by ${what}, and the answer passes`, async () => {
      const sub = newUser()
      const signed = issued({ sub })
      assert.equal((await post('/auth/logout', authorization(signed, sub))).status, 204)
      assert.deepEqual(await statuses(signed), [200])
    })
  }

  test('by two tokens at once', async () => {
    const [first, second] = [victim(), victim()]
    const lines = `Authorization: Bearer ${first}\r\nAuthorization: Bearer ${second}\r\n`
    const bytes = `POST /auth/logout HTTP/1.1\r\nHost: a\r\n${lines}Content-Length: 0\r\n\r\n`
    const { text } = await exchangeRaw(gateway.port, bytes, { until: seen => seen.includes('\r\n\r\n') })
    assert.equal(parseAnswer(text).status, 204)
    assert.deepEqual(await statuses(first), [200])
    assert.deepEqual(await statuses(second), [200])
  })
})

test('a sign-out can be taken back at the admin port', async () => {
  const sub = newUser()
  const signed = issued({ sub, session_id: `${sub}-here` })
  await signOut(signed, '?scope=local')
  const body = JSON.stringify({ session_id: `${sub}-here` })
  const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
  const answer = await send(`${gateway.adminUrl}/revocations`, { method: 'DELETE', headers, body })
  assert.equal(answer.status, 204)
  assert.deepEqual(await statuses(signed), [200])
})

/** A token whose signature somebody else made. */
function forged(over: ClaimSet): string {
  return token(claims({ iat: seconds() - 60, ...over }), {
    secret: 'another-secret-of-thirty-two-bytes-or-more',
  })
}
