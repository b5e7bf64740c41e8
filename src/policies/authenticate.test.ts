import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exchangeOf } from '../../test/support/exchange.ts'
import { claims, token } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import { type Exchange, reply } from '../exchange.ts'
import { TokenVerifier } from '../identity/verify.ts'
import { problemReply } from '../problem.ts'
import { Blocks } from '../store/blocks.ts'
import { authenticate } from './authenticate.ts'

const NOW = Math.floor(Date.now() / 1000)

const verifier = new TokenVerifier(verifierSettings(), null)

const blocks = new Blocks()

interface Result {
  readonly status: number
  readonly detail: string
  readonly challenge: string | undefined
  readonly exchange: Exchange
  readonly passed: boolean
}

async function ask(
  headers: string[],
  mode: 'required' | 'optional' = 'required',
  asked = verifier,
): Promise<Result> {
  const exchange = exchangeOf({ headers })
  let passed = false
  const policy = authenticate({ verifier: asked, blocks, mode, audience: 'authenticated' })
  const answer = await (async () =>
    policy(exchange, () => {
      passed = true
      return reply(204, [])
    }))().catch(thrown => problemReply(exchange, thrown))
  const at = answer.headers.indexOf('WWW-Authenticate')
  return {
    status: answer.status,
    detail: answer.body === null ? '' : (JSON.parse(String(answer.body)) as { detail: string }).detail,
    challenge: at === -1 ? undefined : answer.headers[at + 1],
    exchange,
    passed,
  }
}

const bearer = (text: string): string[] => ['Authorization', `Bearer ${text}`]
const described = (text: string): string => `Bearer error="invalid_token", error_description="${text}"`

describe('a request with a good token', () => {
  test('passes, as its user, the first time and the second', async () => {
    const headers = bearer(token(claims({ sub: 'ana' })))
    for (let time = 0; time < 2; time++) {
      const { passed, exchange } = await ask(headers)
      assert.equal(passed, true)
      assert.deepEqual([exchange.identity?.userId, exchange.identity?.companyId], ['ana', 'acme'])
    }
  })

  test('adds no promise', () => {
    const headers = bearer(token(claims({ sub: 'bob' })))
    const policy = authenticate({ verifier, blocks, mode: 'required', audience: 'authenticated' })
    for (let time = 0; time < 2; time++) {
      assert.ok(!(policy(exchangeOf({ headers }), () => reply(204, [])) instanceof Promise))
    }
  })
})

describe('a request that is refused', () => {
  const cases: [string, string[], number, string | RegExp, string | undefined][] = [
    ['no token', [], 401, 'Not authenticated', 'Bearer'],
    ['another scheme', ['Authorization', 'Basic YTpi'], 401, 'Not authenticated', 'Bearer'],
    ['an opaque key', bearer('sb_publishable_x'), 401, /API key/, 'Bearer'],
    [
      'a bad signature',
      bearer(token(claims(), { secret: 'x'.repeat(32) })),
      401,
      'Invalid token signature.',
      described('Invalid signature'),
    ],
    [
      'expired',
      bearer(token(claims({ exp: NOW - 100 }))),
      401,
      'Token has expired.',
      described('The token has expired'),
    ],
    [
      'another audience',
      bearer(token(claims({ aud: 'x' }))),
      401,
      'Invalid token audience.',
      described("Invalid audience, expected 'authenticated'"),
    ],
    [
      'no exp',
      bearer(token(claims({ exp: undefined }))),
      401,
      'Token missing required claims: exp',
      'Bearer error="invalid_token"',
    ],
    [
      'no sub, no aud',
      bearer(token(claims({ sub: undefined, aud: undefined }))),
      401,
      'Token missing required claims: sub, aud',
      'Bearer error="invalid_token"',
    ],
    [
      'not yet valid',
      bearer(token(claims({ nbf: NOW + 100 }))),
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'alg none',
      bearer(`${token(claims(), { header: { alg: 'none' } }).replace(/[^.]*$/, '')}`),
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'no token at all behind Bearer',
      bearer('x'),
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'two in one line',
      bearer(`${token()}, Bearer ${token()}`),
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'a tab behind Bearer',
      ['Authorization', `Bearer\t${token()}`],
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'white space within',
      bearer(token().replace('.', '. ')),
      401,
      /^Token validation failed: /,
      'Bearer error="invalid_token"',
    ],
    [
      'two lines',
      [...bearer(token()), ...bearer(token())],
      400,
      'More than one Authorization header.',
      undefined,
    ],
    [
      'two lines, one empty',
      ['Authorization', '', ...bearer(token())],
      400,
      'More than one Authorization header.',
      undefined,
    ],
    [
      'a token in a cookie only',
      ['Cookie', `sb-access-token=${token()}`],
      401,
      'Not authenticated',
      'Bearer',
    ],
  ]
  for (const [what, headers, status, detail, challenge] of cases) {
    test(`hears why: ${what}`, async () => {
      const result = await ask(headers)
      assert.equal(result.passed, false)
      assert.equal(result.exchange.identity, null)
      assert.equal(result.status, status)
      if (typeof detail === 'string') assert.equal(result.detail, detail)
      else assert.match(result.detail, detail)
      assert.equal(result.challenge, challenge)
    })
  }

  test('hears that the token was revoked', async () => {
    const revoking = new TokenVerifier(verifierSettings(), null, {
      version: 1,
      isRevoked: () => true,
    })
    const result = await ask(bearer(token()), 'required', revoking)
    assert.deepEqual([result.status, result.passed], [401, false])
    assert.equal(result.challenge, described('The token has been revoked'))
  })

  test('does not hear its token back', async () => {
    const bad = token(claims(), { secret: 'x'.repeat(32) })
    assert.ok(!(await ask(bearer(bad))).detail.includes(bad.slice(0, 20)))
  })
})

describe('where a token is optional', () => {
  test('a request without one, or with an opaque key, passes as nobody', async () => {
    for (const headers of [[], bearer('sb_publishable_x'), ['Authorization', 'Basic YTpi']]) {
      const { passed, exchange } = await ask(headers, 'optional')
      assert.deepEqual([passed, exchange.identity], [true, null])
    }
  })

  test('a bad token is refused all the same', async () => {
    for (const text of [
      'x',
      token(claims(), { secret: 'x'.repeat(32) }),
      token(claims({ exp: NOW - 100 })),
    ]) {
      assert.deepEqual([(await ask(bearer(text), 'optional')).passed], [false])
    }
    assert.equal((await ask(bearer(token()), 'optional')).exchange.identity?.companyId, 'acme')
  })
})
