/** Which route takes a request, what it asks of the caller, and what it makes of the path. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Answer, bearer, type SendOptions, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { type Service, service } from './support/service.ts'
import { type ClaimSet, claims, token } from './support/token.ts'
import {
  answerWith,
  OK,
  type RecordedRequest,
  type RecordingUpstream,
  recordingUpstream,
} from './support/upstream.ts'

const says = (body: string) => ({ auth: 'none', respond: { body } })

let upstream: RecordingUpstream
/** Takes bodies to their end. */
let reader: Service
let gateway: GatewayProcess
let directory: ConfigDirectory

before(async () => {
  directory = configDirectory()
  upstream = await recordingUpstream(request => {
    // Silence stands for a slow service
    if (!request.target.includes('silent')) answerWith(OK)(request)
  })
  reader = await service((request, response) => {
    request.resume().on('end', () => response.end('read'))
  })
  const to = { auth: 'none', upstream: upstream.url }
  const config = directory.write('gateway.config.json', {
    cors: { origins: ['https://everywhere.example'] },
    bodyLimit: '1kb',
    routes: [
      { path: '/pick/*', ...says('prefix') },
      { path: '/pick/exact', ...says('exact') },
      { path: '/pick/{id}', ...says('parameter') },
      { path: '/pick/{id}/deep', ...says('parameter, deep') },
      { path: '/pick/deeper/*', ...says('longer prefix') },
      { path: '/pick/exact', headers: { 'X-Beta': '1' }, ...says('header equal') },
      { path: '/pick/exact', headers: { 'X-Beta': true }, ...says('header present') },
      { path: '/pick/exact', host: 'api.example.com', ...says('host') },
      { path: '/pick/exact', host: '*.example.com', ...says('any host below') },
      { path: '/hosted', host: 'api.example.com', ...says('hosted') },
      { path: '/only-get', methods: ['GET'], ...says('got') },
      {
        path: '/answer',
        auth: 'none',
        respond: { status: 418, headers: { 'X-Pot': 'short' }, body: { stout: true } },
      },
      { path: '/strip/*', ...to, stripPrefix: true },
      { path: '/strip-some/a/*', ...to, stripPrefix: '/strip-some' },
      { path: '/rewrite/{id}/as/*', ...to, rewrite: '/v2/{id}/*' },
      { path: '/rewrite-exact', ...to, rewrite: '/elsewhere' },
      { path: '/required', upstream: upstream.url },
      { path: '/optional', ...to, auth: 'optional' },
      { path: '/none', ...to },
      { path: '/no-company', upstream: upstream.url, company: 'optional' },
      { path: '/admins', upstream: upstream.url, require: { roles: ['admin', 'owner'] } },
      {
        path: '/listed',
        upstream: upstream.url,
        require: { roles: ['a'], rolesClaim: 'app_metadata.roles' },
      },
      {
        path: '/mfa',
        upstream: upstream.url,
        require: { claims: { aal: 'aal2', 'app_metadata.plan': ['pro', 'max'] } },
      },
      {
        path: '/mapped',
        upstream: upstream.url,
        claimHeaders: { 'X-Role': 'role', 'X-Plan': 'app_metadata.plan' },
      },
      { path: '/other-cors', ...to, cors: { origins: ['https://only.example'] } },
      { path: '/no-cors', ...to, cors: false },
      { path: '/small', auth: 'none', upstream: reader.url },
      { path: '/big', auth: 'none', upstream: reader.url, bodyLimit: '1MB' },
      { path: '/silent', ...to, timeouts: { firstByte: '200ms' } },
      { path: '/cookies', ...to, forwardCookies: true },
      { path: '/host', auth: 'none', upstream: { url: upstream.url, preserveHost: true } },
    ],
  })
  gateway = await startGateway({ args: ['--config', config] })
})

after(async () => {
  await gateway?.stop()
  await Promise.all([upstream?.close(), reader?.close()])
  directory?.remove()
})

const ask = (path: string, options: SendOptions = {}): Promise<Answer> => send(gateway.url + path, options)

/** An answer that must have come from the upstream, and what it saw. */
async function seen(path: string, options: SendOptions = {}): Promise<RecordedRequest> {
  const before = upstream.requests.length
  const answer = await ask(path, options)
  assert.equal(answer.status, 200, answer.text)
  assert.equal(upstream.requests.length, before + 1)
  return upstream.requests.at(-1)!
}

describe('the more specific route wins, wherever it stands in the file', () => {
  const host = (name: string) => ({ headers: { host: name } })
  const cases: [string, SendOptions, string][] = [
    ['/pick/exact', {}, 'exact'],
    ['/pick/exact?x', {}, 'exact'],
    ['/pick/other', {}, 'parameter'],
    ['/pick/other/deep', {}, 'parameter, deep'],
    ['/pick/other/deep/down', {}, 'prefix'],
    ['/pick/deeper/deep', {}, 'longer prefix'],
    ['/pick/deeper/x/y', {}, 'longer prefix'],
    ['/pick/exact', { headers: { 'x-beta': '1' } }, 'header equal'],
    ['/pick/exact', { headers: { 'X-Beta': '2' } }, 'header present'],
    ['/pick/exact', host('api.example.com'), 'host'],
    ['/pick/exact', host('API.Example.COM:8080'), 'host'],
    ['/pick/exact', host('www.example.com'), 'any host below'],
    ['/pick/exact', host('a.b.example.com'), 'any host below'],
    ['/pick/exact', host('example.com'), 'exact'],
    ['/pick/exact', host('evilexample.com'), 'exact'],
    ['/pick/other', host('api.example.com'), 'parameter'],
    ['/hosted', host('api.example.com'), 'hosted'],
  ]
  for (const [path, options, body] of cases) {
    test(`${options.method ?? 'GET'} ${path} ${JSON.stringify(options.headers ?? {})} → ${body}`, async () => {
      const answer = await ask(path, options)
      assert.equal(answer.status, 200)
      assert.equal(answer.text, body)
    })
  }

  for (const [path, options] of [
    ['/hosted', {}],
    ['/hosted', host('api.example.com.evil.example')],
    ['/Pick/exact', {}],
    ['/pickle', {}],
    ['/only-get/more', {}],
  ] as const) {
    test(`${path} ${JSON.stringify(options)} → 404`, async () =>
      assert.equal((await ask(path, options)).status, 404))
  }

  test('a method beside the allowed ones is told which they are', async () => {
    const answer = await ask('/only-get', { method: 'DELETE' })
    assert.equal(answer.status, 405)
    assert.match(answer.headers.allow ?? '', /\bGET\b/)
    assert.match(answer.headers.allow ?? '', /\bHEAD\b/)
    assert.doesNotMatch(answer.headers.allow ?? '', /POST|DELETE/)
    assert.equal((await ask('/only-get', { method: 'HEAD' })).status, 200)
  })
})

describe('what a route makes of the request', () => {
  test('answers by itself', async () => {
    const answer = await ask('/answer')
    assert.equal(answer.status, 418)
    assert.deepEqual(answer.values('x-pot'), ['short'])
    assert.deepEqual(answer.json(), { stout: true })
    assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
    assert.ok(answer.headers['x-request-id'])
  })

  const targets: [string, string][] = [
    ['/strip/a/b?c=%2F', '/a/b?c=%2F'],
    ['/strip/a%20b/', '/a%20b/'],
    ['/strip/', '/'],
    ['/strip-some/a/b', '/a/b'],
    ['/rewrite/7/as/x/y?q', '/v2/7/x/y?q'],
    ['/rewrite/a%3Fb/as/%C3%A9', '/v2/a%3Fb/%C3%A9'],
    ['/rewrite-exact?q=1', '/elsewhere?q=1'],
    ['/none?q=%20+', '/none?q=%20+'],
  ]
  for (const [sent, arrives] of targets) {
    test(`sends ${sent} on as ${arrives}`, async () => assert.equal((await seen(sent)).target, arrives))
  }

  test('limits bodies, each its own way', async () => {
    const post = (path: string, size: number) => ask(path, { method: 'POST', body: 'x'.repeat(size) })
    assert.equal((await post('/small', 1_000)).status, 200)
    const refused = await post('/small', 1_001)
    assert.equal(refused.status, 413)
    assert.equal(refused.json().status, 413)
    assert.equal((await post('/big', 1_000_000)).status, 200)
    assert.equal((await post('/big', 1_000_001)).status, 413)
  })

  test('waits as long as it may', async () => {
    const start = performance.now()
    const answer = await ask('/silent')
    assert.equal(answer.status, 504)
    // The gateway-wide limit is 60 s
    assert.ok(performance.now() - start < 10_000)
  })

  test('has CORS of its own, or none', async () => {
    const allowed = async (path: string, origin: string) =>
      (await ask(path, { headers: { origin } })).values('access-control-allow-origin')
    assert.deepEqual(await allowed('/none', 'https://everywhere.example'), ['https://everywhere.example'])
    assert.deepEqual(await allowed('/none', 'https://only.example'), [])
    assert.deepEqual(await allowed('/other-cors', 'https://only.example'), ['https://only.example'])
    assert.deepEqual(await allowed('/other-cors', 'https://everywhere.example'), [])
    assert.deepEqual(await allowed('/no-cors', 'https://everywhere.example'), [])
  })

  test('forwards cookies only when told to', async () => {
    const headers = { cookie: 'a=1; b=2' }
    assert.deepEqual((await seen('/cookies', { headers })).values('cookie'), ['a=1; b=2'])
    assert.deepEqual((await seen('/none', { headers })).values('cookie'), [])
  })

  test("sends the client's host only when told to", async () => {
    const headers = { host: 'api.acme.example' }
    assert.deepEqual((await seen('/host', { headers })).values('host'), ['api.acme.example'])
    assert.deepEqual((await seen('/none', { headers })).values('host'), [`127.0.0.1:${upstream.port}`])
  })
})

describe('what a route asks of the caller', () => {
  const withClaims = (over: ClaimSet): SendOptions => ({ headers: bearer(token(claims(over))) })
  const metadata = (over: ClaimSet): ClaimSet => ({ app_metadata: { company_id: 'acme', ...over } })
  const cases: [string, SendOptions, number][] = [
    ['/required', {}, 401],
    ['/required', withClaims({}), 200],
    ['/optional', {}, 200],
    ['/optional', withClaims({}), 200],
    ['/optional', withClaims({ exp: 1 }), 401],
    ['/optional', { headers: bearer('nonsense') }, 401],
    ['/none', withClaims({ exp: 1 }), 200],
    ['/no-company', withClaims({ app_metadata: {} }), 200],
    ['/no-company', {}, 401],
    ['/admins', withClaims({ role: 'owner' }), 200],
    ['/admins', withClaims({ role: 'authenticated' }), 403],
    ['/admins', withClaims({ role: 'Admin' }), 403],
    ['/admins', withClaims({ role: undefined }), 403],
    ['/admins', withClaims({ role: { admin: true } }), 403],
    ['/admins', {}, 401],
    ['/listed', withClaims(metadata({ roles: ['b', 'a'] })), 200],
    ['/listed', withClaims(metadata({ roles: ['b'] })), 403],
    ['/listed', withClaims(metadata({ roles: 'ab' })), 403],
    ['/listed', withClaims({ user_metadata: { roles: ['a'] } }), 403],
    ['/mfa', withClaims({ aal: 'aal2', ...metadata({ plan: 'pro' }) }), 200],
    ['/mfa', withClaims({ aal: 'aal2', ...metadata({ plan: 'free' }) }), 403],
    ['/mfa', withClaims({ aal: 'aal1', ...metadata({ plan: 'pro' }) }), 403],
    ['/mfa', withClaims(metadata({ plan: 'pro' })), 403],
  ]
  for (const [path, options, status] of cases) {
    const payload = (options.headers?.authorization as string | undefined)?.split('.')[1] ?? ''
    const said = payload && JSON.parse(Buffer.from(payload, 'base64url').toString())
    const what = JSON.stringify({
      role: said?.role,
      aal: said?.aal,
      exp: said?.exp < 2,
      ...said?.app_metadata,
    })
    test(`${path} with ${said ? what : 'no token'} → ${status}`, async () => {
      const before = upstream.requests.length
      const answer = await ask(path, options)
      assert.equal(answer.status, status)
      assert.equal(upstream.requests.length - before, status === 200 ? 1 : 0)
      if (status === 403) assert.match(answer.headers['content-type'] ?? '', /problem\+json/)
    })
  }

  test('optional: who shows a token is named, who shows none is nobody', async () => {
    const named = await seen('/optional', withClaims({}))
    assert.deepEqual(named.values('x-company-id'), ['acme'])
    const spoofed = await seen('/optional', { headers: { 'X-Company-ID': 'globex', x_user_id: 'm' } })
    assert.deepEqual(spoofed.values('x-company-id'), [])
    assert.deepEqual(spoofed.values('x_user_id'), [])
  })

  test('a company that is optional and absent leaves its header out', async () => {
    const request = await seen('/no-company', {
      headers: { ...bearer(token(claims({ app_metadata: {} }))), 'X-Company-ID': 'globex' },
    })
    assert.deepEqual(request.values('x-company-id'), [])
    assert.equal(request.values('x-user-id').length, 1)
  })
})

describe('claims in headers', () => {
  const mapped = (over: ClaimSet, headers: Record<string, string> = {}) =>
    seen('/mapped', { headers: { ...bearer(token(claims(over))), ...headers } })

  test('come from the token', async () => {
    const request = await mapped({ app_metadata: { company_id: 'acme', plan: 'pro' } }, { 'x-plan': 'max' })
    assert.deepEqual(request.values('x-role'), ['authenticated'])
    assert.deepEqual(request.values('x-plan'), ['pro'])
    assert.deepEqual(request.values('x-company-id'), ['acme'])
  })

  test('stand on the routes that map them only, though the token be the same', async () => {
    const headers = bearer(token(claims({ app_metadata: { company_id: 'acme', plan: 'pro' } })))
    for (const path of ['/mapped', '/required', '/mapped', '/required']) {
      const request = await seen(path, { headers })
      assert.deepEqual(request.values('x-plan'), path === '/mapped' ? ['pro'] : [], path)
      assert.deepEqual(request.values('x-company-id'), ['acme'])
    }
  })

  test('are left out where the token has none, the client set or not', async () => {
    const request = await mapped({}, { 'X-Plan': 'max', x_plan: 'max' })
    assert.deepEqual(request.values('x-plan'), [])
    assert.deepEqual(request.values('x_plan'), [])
  })

  test('are never the client’s, on any other route', async () => {
    for (const path of ['/none', '/optional', '/strip/x', '/cookies']) {
      const request = await seen(path, {
        headers: { 'X-Role': 'admin', 'x-plan': 'max', X_Role: 'admin', 'X-Other': '1' },
      })
      for (const name of ['x-role', 'x-plan', 'x_role'])
        assert.deepEqual(request.values(name), [], `${name} on ${path}`)
      assert.deepEqual(request.values('x-other'), ['1'])
    }
  })

  for (const [what, plan] of [
    ['line breaks', 'pro\r\nX-Company-ID: globex'],
    ['text beyond Latin', 'プロ'],
  ] as const) {
    test(`with ${what} are percent-encoded`, async () => {
      const request = await mapped({ app_metadata: { company_id: 'acme', plan } })
      assert.deepEqual(request.values('x-company-id'), ['acme'])
      assert.equal(decodeURIComponent(request.values('x-plan').join()), plan)
    })
  }

  test('of a number and a boolean are their text', async () => {
    assert.deepEqual((await mapped({ app_metadata: { company_id: 'acme', plan: 7 } })).values('x-plan'), [
      '7',
    ])
    assert.deepEqual((await mapped({ app_metadata: { company_id: 'acme', plan: true } })).values('x-plan'), [
      'true',
    ])
  })
})
