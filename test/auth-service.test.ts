/** Supabase Auth behind the gateway: its administration stays closed, everything else passes as supabase-js sends it. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const APP = 'http://localhost:3000'
const PROVIDER = 'https://accounts.example.com/authorize?state=a%2Fb&redirect_uri=http%3A%2F%2Flocalhost'
const OPAQUE = 'sb_publishable_0123456789'

/** Under every prefix that a client may use. */
const PREFIXES = ['/api/v1/auth', '/api/v1/auth/v1']

/** What follows the prefix: the administration, written in all ways that some server might take for it. */
const ADMIN_PATHS = [
  '/admin',
  '/admin/',
  '/admin/users',
  '/admin/users/7?page=1',
  '/admin?x=/../token',
  '/invite',
  '/invite/',
  '/scim',
  '/scim/v2/Users',
  '/ADMIN/users',
  '/Invite',
  '/%61dmin/users',
  '/%41DMIN/users',
  '/admi%6E/users',
  '/%2561dmin/users',
  '/%252561dmin/users',
  '/admin;x/users',
  '/admin;/users',
  '/;x/admin/users',
  '/admin%3Bx/users',
  '/admin%20/users',
  '/admin%2e/users',
  '/admin./users',
  '/%20admin/users',
  '/admin%00/users',
  '/admin%0d%0a/users',
  '/admin%2Fusers',
  '/admin%5Cusers',
  '/admin\\users',
  '\\admin\\users',
  '%2Fadmin/users',
  '//admin/users',
  '/admin//users',
  '/./admin/users',
  '/x/../admin/users',
  '/x/%2e%2e/admin/users',
  '/x/..;/admin/users',
  '/token/..%2fadmin/users',
  '/%2e/admin/users',
  '/v1/admin/users',
  '/auth/v1/admin/users',
  '/%c5%bfcim/v2/Users',
  '/%ef%bd%81dmin/users',
  '/%c0%afadmin/users',
  '/admin#x',
]

async function ask(gateway: GatewayProcess, target: string, method = 'GET', fields = '') {
  const bytes = `${method} ${target} HTTP/1.1\r\nHost: gateway.test\r\n${fields}\r\n`
  const until = method === 'HEAD' ? (text: string) => text.includes('\r\n\r\n') : wholeAnswer
  return parseAnswer((await exchangeRaw(gateway.port, bytes, { until })).text)
}

let upstream: RecordingUpstream

before(async () => {
  upstream = await recordingUpstream(({ target, socket }) => {
    if (/\/(?:authorize|verify|callback)/.test(target)) {
      const location = target.includes('provider=') ? PROVIDER : '/api/v1/auth/landing?code=1#x'
      socket.write(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\nContent-Length: 0\r\n\r\n`)
    } else {
      socket.write(
        'HTTP/1.1 200 OK\r\nX-Supabase-Api-Version: 2024-01-01\r\nContent-Type: application/json\r\n' +
          'Content-Length: 11\r\n\r\n{"ok":true}',
      )
    }
  })
})
after(() => upstream?.close())

for (const strip of [false, true]) {
  describe(`an auth service that is given ${strip ? 'paths without their prefix' : 'whole paths'}`, () => {
    let gateway: GatewayProcess

    before(async () => {
      gateway = await startGateway({
        env: {
          GATEWAY_AUTH_SERVICE_URL: upstream.url,
          GATEWAY_AUTH_STRIP_PREFIX: strip ? 'true' : undefined,
        },
      })
    })
    after(() => gateway?.stop())

    test('is asked nothing on its admin paths, however they are written', async () => {
      const recorded = upstream.requests.length
      const targets = PREFIXES.flatMap(prefix => ADMIN_PATHS.map(path => prefix + path))
      const answers = await Promise.all(targets.map(target => ask(gateway, target)))
      for (const [index, { status, body }] of answers.entries()) {
        const { code } = JSON.parse(body)
        const refused = status === 400 || (status === 403 && code === 'auth_admin_closed')
        assert.ok(refused, `${targets[index]}: ${status} ${code}`)
      }
      assert.deepEqual(
        upstream.requests.slice(recorded).map(({ target }) => target),
        [],
      )
    })

    test('answers for a closed path say so, and browsers can read them', async () => {
      const answer = await ask(gateway, '/api/v1/auth/v1/admin/users', 'POST', `Origin: ${APP}\r\n`)
      assert.equal(answer.status, 403)
      assert.deepEqual(answer.values('access-control-allow-origin'), [APP])
      assert.equal(JSON.parse(answer.body).detail, 'This path of the auth service is closed at the gateway.')
    })

    for (const method of ['HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
      test(`is closed to ${method}`, async () => {
        const recorded = upstream.requests.length
        assert.equal((await ask(gateway, '/api/v1/auth/admin/users', method)).status, 403)
        assert.equal(upstream.requests.length, recorded)
      })
    }

    for (const [asked, stripped] of [
      ['/api/v1/auth/token?grant_type=password', '/token?grant_type=password'],
      ['/api/v1/auth/v1/token?grant_type=pkce&x=%2F', '/token?grant_type=pkce&x=%2F'],
      ['/api/v1/auth/v1/user/identities/a%20b', '/user/identities/a%20b'],
      ['/api/v1/auth/v1/.well-known/jwks.json', '/.well-known/jwks.json'],
      ['/api/v1/auth/v1', '/'],
      ['/api/v1/auth/v1/', '/'],
      ['/api/v1/auth/v1?x', '/?x'],
      ['/api/v1/auth', '/'],
      ['/api/v1/auth/v10/token', '/v10/token'],
      ['/api/v1/auth/invited', '/invited'],
    ] as const) {
      const expected = strip ? stripped : asked
      test(`gets ${expected} for ${asked}`, async () => {
        assert.equal((await ask(gateway, asked)).status, 200)
        assert.equal(upstream.requests.at(-1)!.target, expected)
      })
    }

    test('gets what supabase-js sends, but no opaque key as a bearer', async () => {
      const fields = {
        apikey: OPAQUE,
        'x-client-info': 'supabase-js-web/2.0.0',
        'x-supabase-api-version': '2024-01-01',
        'content-type': 'application/json;charset=UTF-8',
      }
      const headers = { ...fields, authorization: `Bearer ${OPAQUE}`, origin: APP }
      const answer = await send(`${gateway.url}/api/v1/auth/v1/signup`, { method: 'POST', headers })
      const request = upstream.requests.at(-1)!
      for (const [name, value] of Object.entries(fields))
        assert.deepEqual(request.values(name), [value], name)
      assert.deepEqual(request.values('authorization'), [])
      assert.deepEqual(answer.values('x-supabase-api-version'), ['2024-01-01'])
      assert.match(answer.values('access-control-expose-headers').join(), /x-supabase-api-version/i)
    })

    test('gets an anonymous or a user token as it is, unread', async () => {
      for (const authorization of ['Bearer eyJhbGciOiJIUzI1NiJ9.e30.x', 'Bearer not-a-token']) {
        await send(`${gateway.url}/api/v1/auth/v1/user`, { headers: { authorization } })
        assert.deepEqual(upstream.requests.at(-1)!.values('authorization'), [authorization])
      }
    })

    for (const path of ['/authorize?provider=github&code_challenge=x', '/callback?provider=github&code=1']) {
      test(`redirects as it likes from ${path}`, async () => {
        const answer = await send(`${gateway.url}/api/v1/auth/v1${path}`)
        assert.equal(answer.status, 302)
        assert.deepEqual(answer.values('location'), [PROVIDER])
      })
    }

    test('may name its paths as clients know them', async () => {
      const answer = await send(`${gateway.url}/api/v1/auth/v1/verify?token=x&type=signup`)
      assert.deepEqual(answer.values('location'), ['/api/v1/auth/landing?code=1#x'])
    })
  })
}

describe('admin paths of the auth service', () => {
  test('are open with GATEWAY_AUTH_ALLOW_ADMIN', async () => {
    const gateway = await startGateway({
      env: { GATEWAY_AUTH_SERVICE_URL: upstream.url, GATEWAY_AUTH_ALLOW_ADMIN: 'true' },
    })
    try {
      assert.equal((await ask(gateway, '/api/v1/auth/v1/admin/users')).status, 200)
      assert.equal(upstream.requests.at(-1)!.target, '/api/v1/auth/v1/admin/users')
    } finally {
      await gateway.stop()
    }
  })

  test('are closed on routes that say authService, open with its admin, and nobody’s matter elsewhere', async () => {
    const route = { auth: 'none' as const, upstream: upstream.url }
    const gateway = await startConfigured({
      routes: [
        { ...route, path: '/closed/*', authService: true },
        { ...route, path: '/realms/{realm}/*', authService: { admin: false }, rewrite: '/{realm}/*' },
        { ...route, path: '/open/*', authService: { admin: true }, stripPrefix: true },
        { ...route, path: '/other/*' },
        { ...route, path: '/kept/v1/auth/*', authService: true, stripPrefix: '/kept' },
      ],
    })
    try {
      assert.equal((await ask(gateway, '/closed/v1/admin')).status, 403)
      assert.equal((await ask(gateway, '/realms/admin/users')).status, 403)
      assert.equal((await ask(gateway, '/realms/a/admin')).status, 403)
      for (const [asked, given] of [
        ['/open/v1/admin/users', '/admin/users'],
        ['/other/admin/users', '/other/admin/users'],
        ['/kept/v1/auth/v1/token', '/v1/auth/v1/token'],
      ] as const) {
        assert.equal((await ask(gateway, asked)).status, 200)
        assert.equal(upstream.requests.at(-1)!.target, given)
      }
    } finally {
      await gateway.stop()
    }
  })
})
