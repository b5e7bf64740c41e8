import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { gatewaySchema } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import { type Reply, reply } from '../exchange.ts'
import { cors } from './cors.ts'

const ORIGIN = 'https://app.example.com'

function policy(over: Record<string, unknown> = {}, methods: readonly string[] | null = ['GET', 'POST']) {
  const config = gatewaySchema.parse({
    cors: { origins: [ORIGIN], originPatterns: ['https://nyro-*.vercel.app'], ...over },
  }).cors
  assert.ok(config !== false)
  return cors(config, methods)
}

function values({ headers }: Reply, name: string): string[] {
  return headers.filter(
    (_, index) => index % 2 === 1 && headers[index - 1]!.toLowerCase() === name.toLowerCase(),
  )
}

const ALLOW_ORIGIN = 'Access-Control-Allow-Origin'
const FOREIGN = [
  ...[
    'null',
    'https://app.example.com.evil.example',
    'https://evilapp.example.com',
    'http://app.example.com',
  ],
  ...[
    'https://app.example.com:8443',
    'https://APP.example.com',
    'https://app.example.com/',
    '',
    '*',
    'https://nyro-.vercel.app',
  ],
  ...['https://nyro-x.vercel.app.evil.example', 'https://app.example.com, https://evil.example'],
]

describe('an answer across origins', () => {
  for (const origin of [ORIGIN, 'https://nyro-pr-7.vercel.app']) {
    test(`names the allowed origin exactly: ${origin}`, async () => {
      const answer = await policy()(exchangeOf({ headers: ['Origin', origin] }), () =>
        reply(200, ['Vary', 'Accept']),
      )
      assert.deepEqual(values(answer, ALLOW_ORIGIN), [origin])
      assert.deepEqual(values(answer, 'Access-Control-Allow-Credentials'), ['true'])
      assert.deepEqual(values(answer, 'Vary'), ['Accept', 'Origin'])
      assert.deepEqual(values(answer, 'Access-Control-Expose-Headers'), [
        'X-Request-ID, X-Process-Time, x-supabase-api-version',
      ])
    })
  }

  for (const origin of FOREIGN) {
    test(`names no other: ${JSON.stringify(origin)}`, async () => {
      const answer = await policy()(exchangeOf({ headers: ['Origin', origin] }), () => reply(200, []))
      assert.deepEqual(answer.headers, ['Vary', 'Origin'])
    })
  }

  test('varies by origin without one too', async () => {
    assert.deepEqual((await policy()(exchangeOf(), () => reply(200, []))).headers, ['Vary', 'Origin'])
  })

  test('is marked whether it comes at once or later, whatever its status', async () => {
    for (const answer of [reply(502, []), Promise.resolve(reply(401, []))]) {
      const marked = await policy()(exchangeOf({ headers: ['origin', ORIGIN] }), () => answer)
      assert.deepEqual(values(marked, ALLOW_ORIGIN), [ORIGIN])
    }
  })

  test('has no credentials where they are turned off', async () => {
    const answer = await policy({ credentials: false, exposeHeaders: ['X-More'] })(
      exchangeOf({ headers: ['Origin', ORIGIN] }),
      () => reply(200, []),
    )
    assert.deepEqual(values(answer, 'Access-Control-Allow-Credentials'), [])
    assert.match(values(answer, 'Access-Control-Expose-Headers')[0]!, /, X-More$/)
  })
})

describe('a preflight', () => {
  const preflight = (origin: string, ...more: string[]) =>
    exchangeOf({
      method: 'OPTIONS',
      headers: ['Origin', origin, 'Access-Control-Request-Method', 'POST', ...more],
    })
  const unreachable = (): never => assert.fail('the preflight went on')

  test('is answered here, exactly', async () => {
    const answer = await policy()(
      preflight(ORIGIN, 'Access-Control-Request-Headers', 'authorization, x-client-info'),
      unreachable,
    )
    assert.equal(answer.status, 204)
    assert.equal(answer.body, null)
    assert.deepEqual(values(answer, ALLOW_ORIGIN), [ORIGIN])
    assert.deepEqual(values(answer, 'Access-Control-Allow-Methods'), ['GET, POST'])
    assert.deepEqual(values(answer, 'Access-Control-Allow-Headers'), ['authorization, x-client-info'])
    assert.deepEqual(values(answer, 'Access-Control-Max-Age'), ['600'])
    assert.match(values(answer, 'Vary').join(), /\bOrigin\b/)
  })

  for (const origin of FOREIGN) {
    test(`of another origin is refused: ${JSON.stringify(origin)}`, () => {
      assert.throws(
        () => policy()(preflight(origin), unreachable),
        (error: unknown) =>
          error instanceof GatewayError && error.status === 403 && !error.headers.includes(ALLOW_ORIGIN),
      )
    })
  }

  test('allows only header names among what is asked for', async () => {
    const asked = 'x-a,, x b, x-c\xe9, authorization'
    const answer = await policy()(preflight(ORIGIN, 'Access-Control-Request-Headers', asked), unreachable)
    assert.deepEqual(values(answer, 'Access-Control-Allow-Headers'), ['x-a, authorization'])
  })

  test('allows the headers and methods of the config where it has them', async () => {
    const config = { headers: ['X-A'], methods: ['put'], maxAge: '1h' }
    const answer = await policy(config)(
      preflight(ORIGIN, 'Access-Control-Request-Headers', 'x-b'),
      unreachable,
    )
    assert.deepEqual(values(answer, 'Access-Control-Allow-Headers'), ['X-A'])
    assert.deepEqual(values(answer, 'Access-Control-Allow-Methods'), ['PUT'])
    assert.deepEqual(values(answer, 'Access-Control-Max-Age'), ['3600'])
  })

  test('is no preflight without an origin or the method to come', async () => {
    for (const headers of [['Origin', ORIGIN], ['Access-Control-Request-Method', 'POST'], []]) {
      const answer = await policy()(exchangeOf({ method: 'OPTIONS', headers }), () => reply(200, []))
      assert.equal(answer.status, 200)
    }
  })
})
