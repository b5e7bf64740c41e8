/** The answers that clients of the first gateway rely on: status, detail and headers, each word of them. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Answer, bearer, type SendOptions, send } from './support/client.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { keyServer } from './support/jwks.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const INVALID = 'Bearer error="invalid_token"'
const NOT_READY = 'Gateway service is temporarily unavailable (client error).'
const NO_COMPANY = 'User authenticated, but company association is missing in token.'
const past = Math.floor(Date.now() / 1000) - 600

let upstream: RecordingUpstream
let silent: RecordingUpstream
let gateway: GatewayProcess
/** Has no auth service, no ingest service that listens, and a silent query service. */
let troubled: GatewayProcess
/** Has policies that fail. */
let faulty: GatewayProcess
let directory: ConfigDirectory

before(async () => {
  directory = configDirectory()
  upstream = await recordingUpstream()
  silent = await recordingUpstream(() => {})
  const config = directory.write(
    'gateway.config.ts',
    `export default { routes: [
      { path: '/throws', auth: 'none', respond: { body: 'no' }, policies: [() => { throw new Error('secret inner text') }] },
      { path: '/rejects', auth: 'none', respond: { body: 'no' }, policies: [async () => { throw new TypeError('secret inner text') }] },
    ] }`,
  )
  ;[gateway, troubled, faulty] = await Promise.all([
    startGateway({
      env: {
        GATEWAY_INGEST_SERVICE_URL: upstream.url,
        GATEWAY_QUERY_SERVICE_URL: upstream.url,
        GATEWAY_AUTH_SERVICE_URL: upstream.url,
      },
    }),
    startGateway({ env: { GATEWAY_QUERY_SERVICE_URL: silent.url, GATEWAY_HTTP_CLIENT_TIMEOUT: '1' } }),
    startGateway({ args: ['--config', config] }),
  ])
})

after(async () => {
  await Promise.all([gateway?.stop(), troubled?.stop(), faulty?.stop()])
  await Promise.all([upstream?.close(), silent?.close()])
  directory?.remove()
})

interface Expected {
  readonly status: number
  readonly detail: string | RegExp
  readonly authenticate?: string
}

/** What every problem must be, beyond its own status and text. */
function assertProblem(answer: Answer, expected: Expected): void {
  assert.equal(answer.status, expected.status)
  assert.match(answer.headers['content-type'] ?? '', /^application\/problem\+json(;|$)/)
  const problem = answer.json()
  if (typeof expected.detail === 'string') assert.equal(problem.detail, expected.detail)
  else assert.match(problem.detail, expected.detail)
  assert.equal(typeof problem.type, 'string')
  assert.ok(problem.title.length > 0)
  assert.equal(problem.status, expected.status)
  assert.match(problem.code, /^[a-z][a-z0-9_]+$/)
  assert.equal(problem.request_id, answer.headers['x-request-id'])
  assert.deepEqual(
    answer.values('www-authenticate'),
    expected.authenticate === undefined ? [] : [expected.authenticate],
  )
  assertTimed(answer)
}

function assertTimed(answer: Answer): void {
  assert.match(answer.values('x-request-id').join(), /^[\w-]{8,}$/)
  assert.match(answer.values('x-process-time').join(), /^\d+\.\d+$/)
  assert.ok(Number(answer.headers['x-process-time']) < 60)
}

describe('tokens', () => {
  const cases: [string, Record<string, string>, Expected][] = [
    ['no bearer token', {}, { status: 401, detail: 'Not authenticated', authenticate: 'Bearer' }],
    [
      'a bad signature',
      bearer(token(claims(), { secret: 'another-secret-of-at-least-32-bytes!' })),
      {
        status: 401,
        detail: 'Invalid token signature.',
        authenticate: `${INVALID}, error_description="Invalid signature"`,
      },
    ],
    [
      'an expired token',
      bearer(token(claims({ exp: past }))),
      {
        status: 401,
        detail: 'Token has expired.',
        authenticate: `${INVALID}, error_description="The token has expired"`,
      },
    ],
    [
      'the wrong audience',
      bearer(token(claims({ aud: 'anon' }))),
      {
        status: 401,
        detail: 'Invalid token audience.',
        authenticate: `${INVALID}, error_description="Invalid audience, expected 'authenticated'"`,
      },
    ],
    ...(
      [
        ['sub', { sub: undefined }],
        ['aud', { aud: undefined }],
        ['exp', { exp: undefined }],
        ['sub, aud', { sub: undefined, aud: undefined }],
        ['sub, aud, exp', { sub: undefined, aud: undefined, exp: undefined }],
      ] as const
    ).map(([names, over]): [string, Record<string, string>, Expected] => [
      `a token without ${names}`,
      bearer(token(claims(over))),
      { status: 401, detail: `Token missing required claims: ${names}`, authenticate: INVALID },
    ]),
    [
      'a token that is none',
      bearer('not-a-token'),
      { status: 401, detail: /^Token validation failed: ./, authenticate: INVALID },
    ],
    [
      'a token that is not valid yet',
      bearer(token(claims({ nbf: past + 7_200 }))),
      { status: 401, detail: /^Token validation failed: ./, authenticate: INVALID },
    ],
    ['no company', bearer(token(claims({ app_metadata: {} }))), { status: 403, detail: NO_COMPANY }],
    [
      'an empty company',
      bearer(token(claims({ app_metadata: { company_id: '' } }))),
      { status: 403, detail: NO_COMPANY },
    ],
  ]
  for (const [what, headers, expected] of cases) {
    for (const service of ['ingest', 'query']) {
      test(`answers ${expected.status} to ${what} on ${service}`, async () => {
        assertProblem(await send(`${gateway.url}/api/v1/${service}/x`, { headers }), expected)
      })
    }
  }
})

describe('routes and upstreams', () => {
  const cases: [string, () => GatewayProcess, string, SendOptions, Expected][] = [
    ['an unknown path', () => gateway, '/nowhere', {}, { status: 404, detail: 'Not Found' }],
    [
      'an unknown path below /api',
      () => gateway,
      '/api/v2/ingest/x',
      {},
      { status: 404, detail: 'Not Found' },
    ],
    [
      'a method that no route has',
      () => gateway,
      '/health',
      { method: 'DELETE' },
      { status: 405, detail: 'Method Not Allowed' },
    ],
    [
      'auth without an auth service',
      () => troubled,
      '/api/v1/auth/token',
      { method: 'POST', body: '{}' },
      { status: 501, detail: 'Authentication endpoint proxy not configured in the gateway.' },
    ],
    [
      'an upstream that is not there',
      () => troubled,
      '/api/v1/ingest/x',
      { headers: bearer(token()) },
      { status: 503, detail: 'Upstream service unavailable.' },
    ],
    [
      'an upstream that is silent',
      () => troubled,
      '/api/v1/query/x',
      { headers: bearer(token()) },
      { status: 504, detail: 'Upstream service timeout.' },
    ],
    [
      'a fault in a policy',
      () => faulty,
      '/throws',
      {},
      { status: 500, detail: 'An internal server error occurred.' },
    ],
    [
      'a fault in an asynchronous policy',
      () => faulty,
      '/rejects',
      {},
      { status: 500, detail: 'An internal server error occurred.' },
    ],
  ]
  for (const [what, to, path, options, expected] of cases) {
    test(`answers ${expected.status} to ${what}`, async () => {
      const answer = await send(to().url + path, options)
      assertProblem(answer, expected)
      assert.ok(!answer.text.includes('inner text'))
    })
  }

  test('says which methods there are', async () => {
    const own = await send(`${gateway.url}/health`, { method: 'POST' })
    assert.deepEqual(
      methodsIn(own),
      ['GET', 'HEAD', 'OPTIONS'].filter(name => methodsIn(own).includes(name)),
    )
    assert.ok(methodsIn(own).includes('GET') && methodsIn(own).includes('HEAD'))
    const ingest = await send(`${gateway.url}/api/v1/ingest/x`, {
      method: 'OPTIONS',
      headers: bearer(token()),
    })
    assert.equal(ingest.status, 405)
    for (const name of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH']) {
      assert.ok(methodsIn(ingest).includes(name), name)
    }
  })

  test('answers 503 without its keys', async () => {
    const keys = await keyServer()
    await keys.close()
    const cold = await startGateway({
      env: {
        GATEWAY_INGEST_SERVICE_URL: upstream.url,
        GATEWAY_JWT_SECRET: undefined,
        GATEWAY_JWKS_URL: keys.url,
      },
    })
    try {
      const signed = token(claims(), { header: { alg: 'ES256', kid: 'k' } })
      const expected = { status: 503, detail: NOT_READY }
      assertProblem(await send(`${cold.url}/api/v1/ingest/x`, { headers: bearer(signed) }), expected)
      assertProblem(await send(`${cold.url}/ready`), expected)
    } finally {
      await cold.stop()
    }
  })

  test('survives all of it', async () => {
    assert.equal((await send(`${faulty.url}/health`)).status, 200)
    assert.equal(faulty.child.exitCode, null)
  })
})

function methodsIn(answer: Answer): string[] {
  return answer
    .values('allow')
    .join()
    .split(',')
    .map(name => name.trim())
    .sort()
}

describe("the gateway's own pages", () => {
  test('greets at its root', async () => {
    const answer = await send(`${gateway.url}/`)
    assert.equal(answer.status, 200)
    assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
    assert.deepEqual(answer.json(), { message: 'Nyro API Gateway is running!' })
    assertTimed(answer)
  })

  test('is healthy in the words of the first gateway', async () => {
    const answer = await send(`${gateway.url}/health`)
    assert.equal(answer.status, 200)
    assert.deepEqual(answer.json(), { status: 'healthy', service: 'Nyro API Gateway' })
    assertTimed(answer)
  })

  test('describes itself and its routes in /openapi.json', async () => {
    const answer = await send(`${gateway.url}/openapi.json`)
    assert.equal(answer.status, 200)
    const document = answer.json()
    assert.match(document.openapi, /^3\./)
    assert.ok(document.info.title && document.info.version)
    const paths = Object.keys(document.paths)
    for (const path of ['/health', '/ready']) assert.ok(paths.includes(path), path)
    for (const prefix of ['/api/v1/ingest/', '/api/v1/query/', '/api/v1/auth/']) {
      const found = paths.find(path => path.startsWith(prefix))
      assert.ok(found, prefix)
      const declared = [...found.matchAll(/\{(\w+)\}/g)].map(match => match[1])
      assert.ok(declared.length > 0, 'paths in OpenAPI name their parameters')
      const guarded = document.paths[found].get
      assert.equal((guarded.security ?? []).length > 0, !prefix.includes('auth'), `security of ${prefix}`)
    }
    assertTimed(answer)
  })

  test('shows a page at /docs that loads nothing from elsewhere', async () => {
    const answer = await send(`${gateway.url}/docs`)
    assert.equal(answer.status, 200)
    assert.match(answer.headers['content-type'] ?? '', /^text\/html/)
    assert.match(answer.text, /openapi\.json/)
    assert.doesNotMatch(answer.text, /(src|href)\s*=\s*["']?(https?:)?\/\//i)
    assertTimed(answer)
  })
})

describe('request ids and timing', () => {
  const proxied = (id?: string): Promise<Answer> =>
    send(`${gateway.url}/api/v1/ingest/x`, {
      headers: { ...bearer(token()), ...(id === undefined ? {} : { 'X-Request-ID': id }) },
    })

  test('stand on proxied answers', async () => assertTimed(await proxied()))

  test('keep a sane id, and tell the upstream', async () => {
    for (const id of ['abc-123_DEF.4', '4bf92f3577b34da6a3ce929d0e0e4736', crypto.randomUUID()]) {
      const answer = await proxied(id)
      assert.deepEqual(answer.values('x-request-id'), [id])
      assert.deepEqual(upstream.requests.at(-1)!.values('x-request-id'), [id])
    }
  })

  test('make a UUIDv7 where there is none, another each time', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => proxied()))
    const ids = answers.map(answer => answer.headers['x-request-id'] as string)
    for (const id of ids)
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    assert.equal(new Set(ids).size, 20)
    const age = Date.now() - Number.parseInt(ids[0]!.replace('-', '').slice(0, 12), 16)
    assert.ok(age >= -1_000 && age < 60_000, `an id ${age} ms old`)
    assert.deepEqual(upstream.requests.at(-1)!.values('x-request-id').length, 1)
  })

  for (const id of ['', 'a b', 'x'.repeat(1_000), '"><script>', 'ä', '{"a":1}']) {
    test(`replace the id ${JSON.stringify(id.slice(0, 20))}`, async () => {
      const answer = await proxied(Buffer.from(id).toString('latin1'))
      assert.match(answer.values('x-request-id').join(), /^[0-9a-f-]{36}$/)
      assert.equal(upstream.requests.at(-1)!.values('x-request-id').join(), answer.headers['x-request-id'])
    })
  }
})
