import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { SECRET } from '../../test/support/gateway.ts'
import { claims, token } from '../../test/support/token.ts'
import { verifierSettings } from '../../test/support/verifier.ts'
import type { Identity, Verdict } from './identity.ts'
import { type Revocations, TokenVerifier, type VerifierSettings } from './verify.ts'

function verifier(over: Partial<VerifierSettings> = {}): TokenVerifier {
  return new TokenVerifier(verifierSettings(over), null)
}

const codeOf = (verdict: Verdict): string => (verdict.kind === 'refused' ? verdict.code : 'verified')
const encode = (text: string): string => Buffer.from(text).toString('base64url')

describe('a token with the shared secret', () => {
  test('is verified at once, and as the same identity when it was seen before', () => {
    const subject = verifier()
    const good = token(claims({ sub: 'ana' }))
    const first = subject.verify(good)
    assert.ok(!(first instanceof Promise) && first.kind === 'verified')
    assert.equal(first.identity.userId, 'ana')
    const second = subject.verify(good)
    assert.ok(!(second instanceof Promise) && second.kind === 'verified')
    assert.equal(second.identity, first.identity)
  })

  test('is verified anew when keys may have changed', async () => {
    const subject = verifier()
    const good = token()
    const first = await subject.verify(good)
    subject.forget()
    const second = await subject.verify(good)
    assert.ok(first.kind === 'verified' && second.kind === 'verified')
    assert.notEqual(second.identity, first.identity)
  })

  test('is compared in every character also by a verifier that knows its header', async () => {
    const subject = verifier()
    await subject.verify(token())
    for (const good of [token(), token(claims({ sub: 'x'.repeat(50) })), token(claims({ sub: 'y' }))]) {
      for (let at = 0; at < good.length; at++) {
        const other = good[at] === 'A' ? 'B' : 'A'
        const verdict = await subject.verify(`${good.slice(0, at)}${other}${good.slice(at + 1)}`)
        assert.equal(verdict.kind, 'refused', `at ${at}`)
      }
      assert.equal(codeOf(await subject.verify(good)), 'verified')
    }
  })

  test('is not verified by what an earlier one left in memory', async () => {
    const subject = verifier()
    const good = token()
    const [header, payload, signature] = good.split('.')
    for (const text of [
      `${header}.${payload}.`,
      `${header}..${signature}`,
      `${header}.${payload}.AAAA`,
      '..',
    ]) {
      assert.equal(codeOf(await subject.verify(good)), 'verified')
      subject.forget()
      assert.equal((await subject.verify(text)).kind, 'refused', text.slice(-20))
    }
  })

  test('is of ASCII: a character whose low byte would fit is another one', async () => {
    const good = token()
    for (const at of [0, 5, good.indexOf('.') + 3, good.lastIndexOf('.') + 1, good.length - 1]) {
      for (const high of [0x100, 0x4200, 0xff00]) {
        const other = String.fromCharCode(good.charCodeAt(at) + high)
        const text = `${good.slice(0, at)}${other}${good.slice(at + 1)}`
        const subject = verifier()
        assert.equal((await subject.verify(text)).kind, 'refused')
        await subject.verify(good)
        assert.equal((await subject.verify(text)).kind, 'refused')
      }
    }
  })

  test('is judged by its signature under a header that was good before, however many there were', async () => {
    const subject = verifier()
    for (let i = 0; i < 300; i++) {
      const header = { kid: `k${i}` }
      assert.equal(codeOf(await subject.verify(token(claims(), { header }))), 'verified')
      assert.equal(
        codeOf(await subject.verify(token(claims(), { header, secret: 'x'.repeat(32) }))),
        'token_signature',
      )
      const bad = token(claims(), { header: { kid: `k${i}`, alg: 'none' } })
      assert.equal(codeOf(await subject.verify(bad)), 'token_invalid')
    }
  })

  test('is not seen before when any character of it differs', async () => {
    const subject = verifier()
    const good = token()
    await subject.verify(good)
    for (let at = 0; at < good.length; at += 17) {
      const other = good[at] === 'A' ? 'B' : 'A'
      assert.equal(
        (await subject.verify(`${good.slice(0, at)}${other}${good.slice(at + 1)}`)).kind,
        'refused',
      )
    }
    assert.equal((await subject.verify(good)).kind, 'verified')
  })

  test('has no padding or white space in its parts, RFC 7515 §5.2', async () => {
    const good = token()
    for (const text of [
      `${good}=`,
      `${good}==`,
      good.replaceAll('.', '=.'),
      `${good.slice(0, -1)} ${good.at(-1)}`,
    ]) {
      assert.equal((await verifier().verify(text)).kind, 'refused', text.slice(-5))
    }
  })

  test('expires in the cache too, after the leeway', async context => {
    const now = Math.floor(Date.now() / 1000)
    context.mock.timers.enable({ apis: ['Date'], now: now * 1000 })
    const subject = verifier()
    const short = token(claims({ exp: now + 10 }))
    assert.equal(codeOf(await subject.verify(short)), 'verified')
    context.mock.timers.setTime((now + 39) * 1000)
    assert.equal(codeOf(await subject.verify(short)), 'verified', 'gone too early')
    context.mock.timers.setTime((now + 40) * 1000)
    assert.equal(codeOf(await subject.verify(short)), 'token_expired')
  })

  const payload = encode(JSON.stringify(claims()))
  const unsigned = (header: unknown): string => `${encode(JSON.stringify(header))}.${payload}.`
  const cases: [string, string, string][] = [
    ['another secret', token(claims(), { secret: 'x'.repeat(40) }), 'token_signature'],
    ['an empty secret', token(claims(), { secret: '' }), 'token_signature'],
    ['no signature', unsigned({ alg: 'HS256' }), 'token_signature'],
    ['alg none', unsigned({ alg: 'none' }), 'token_invalid'],
    ['alg None', unsigned({ alg: 'None' }), 'token_invalid'],
    ['alg none, signed', token(claims(), { header: { alg: 'none' } }), 'token_invalid'],
    ['no alg', token(claims(), { header: { alg: undefined } }), 'token_invalid'],
    ['alg a list', token(claims(), { header: { alg: ['HS256'] } }), 'token_invalid'],
    ['alg HS512', token(claims(), { header: { alg: 'HS512' } }), 'token_invalid'],
    ['alg hs256', token(claims(), { header: { alg: 'hs256' } }), 'token_invalid'],
    ['alg ES256 without a key set', token(claims(), { header: { alg: 'ES256', kid: 'k' } }), 'token_invalid'],
    ['alg __proto__', token(claims(), { header: { alg: '__proto__' } }), 'token_invalid'],
    ['crit', token(claims(), { header: { crit: ['x'], x: 1 } }), 'token_invalid'],
    ['crit b64', token(claims(), { header: { crit: ['b64'], b64: false } }), 'token_invalid'],
    ['an empty text', '', 'token_invalid'],
    ['no dots', 'abc', 'token_invalid'],
    ['two parts', 'a.b', 'token_invalid'],
    ['five parts', `${token()}.a.b`, 'token_invalid'],
    ['a header that is no JSON', `${encode('x')}.${payload}.x`, 'token_invalid'],
    ['a header that is a list', `${encode('[]')}.${payload}.x`, 'token_invalid'],
    ['a header that is null', `${encode('null')}.${payload}.x`, 'token_invalid'],
    [
      'a text of 100,000 characters',
      `${encode('{"alg":"HS256"}')}.${'a'.repeat(100_000)}.x`,
      'token_invalid',
    ],
    ['17,000 characters, well signed', token(claims({ x: 'x'.repeat(12_500) })), 'token_invalid'],
    ['a payload that is a list', token([claims()] as never), 'token_invalid'],
    ['a payload that is a text', token('x' as never), 'token_invalid'],
    ['a payload that is null', token(null as never), 'token_invalid'],
  ]
  for (const [what, text, code] of cases) {
    test(`is refused with ${what}`, async () => assert.equal(codeOf(await verifier().verify(text)), code))
  }

  test('may point anywhere for its key: jwk, jku, x5u and kid are not followed', async () => {
    const header = {
      kid: '__proto__',
      jku: 'http://127.0.0.1:1/',
      x5u: 'http://127.0.0.1:1/',
      jwk: { kty: 'oct', k: 'AA' },
    }
    assert.equal(codeOf(await verifier().verify(token(claims(), { header }))), 'verified')
    assert.equal(
      codeOf(await verifier().verify(token(claims(), { header, secret: '\0' }))),
      'token_signature',
    )
  })

  test('is never anything but verified or refused', async () => {
    const part = fc.oneof(
      fc.base64String({ maxLength: 20 }),
      fc.json().map(encode),
      fc.constant(encode('{"alg":"HS256"}')),
      fc.string({ maxLength: 6 }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 5 }), async parts => {
        const verdict = await verifier().verify(parts.join('.'))
        assert.equal(verdict.kind, 'refused')
      }),
    )
  })
})

describe('a revoked token', () => {
  class Denied implements Revocations {
    readonly asked: unknown[] = []
    revoked = false
    readonly version = 0
    isRevoked({ sessionId, userId, issuedAt }: Identity): boolean {
      this.asked.push([sessionId, userId, issuedAt])
      return this.revoked
    }
  }

  test('is refused from that moment on, seen before or not', async () => {
    const revocations = new Denied()
    const subject = new TokenVerifier(verifierSettings(), null, revocations)
    const good = token(claims({ sub: 'ana', session_id: 's1', iat: 1_000 }))
    assert.equal(codeOf(await subject.verify(good)), 'verified')
    assert.equal(codeOf(await subject.verify(good)), 'verified')
    revocations.revoked = true
    assert.equal(codeOf(await subject.verify(good)), 'token_revoked')
    assert.equal(codeOf(await subject.verify(token(claims({ sub: 'bob', iat: 7 })))), 'token_revoked')
    revocations.revoked = false
    assert.equal(codeOf(await subject.verify(good)), 'verified')
    const ana = ['s1', 'ana', 1_000]
    assert.deepEqual(revocations.asked, [ana, ana, ana, [null, 'bob', 7], ana])
  })

  test('is asked for only once its signature is known to be good', async () => {
    const revocations = new Denied()
    const subject = new TokenVerifier(verifierSettings(), null, revocations)
    await subject.verify(token(claims(), { secret: 'x'.repeat(32) }))
    await subject.verify(token(claims({ exp: 1 })))
    assert.deepEqual(revocations.asked, [])
  })
})

describe('a verifier', () => {
  test('is ready with a secret, and not without any key', () => {
    assert.equal(verifier().ready, true)
    assert.equal(verifier({ secret: null }).ready, false)
  })

  test('without a secret takes no HMAC, least of all with an empty one', async () => {
    for (const secret of [SECRET, '', 'undefined', 'null']) {
      assert.equal(
        codeOf(await verifier({ secret: null }).verify(token(claims(), { secret }))),
        'token_invalid',
      )
    }
  })

  test('has no empty secret', () => {
    assert.throws(() => verifier({ secret: { algorithm: 'HS256', value: '' } }), RangeError)
  })
})

describe('a crowd of bad tokens', () => {
  test('does not push out the good ones, and is refused each time anew', async () => {
    const subject = verifier({ cacheBytes: 20_000 })
    const good = await subject.verify(token(claims({ sub: 'ana', iat: 1 })))
    assert.ok(good.kind === 'verified')
    for (let i = 0; i < 2_000; i++) {
      const text = token(claims({ sub: `u${i}` }), { secret: 'x'.repeat(32), header: { kid: `k${i}` } })
      assert.equal(codeOf(await subject.verify(text)), 'token_signature')
    }
    const again = await subject.verify(token(claims({ sub: 'ana', iat: 1 })))
    assert.ok(again.kind === 'verified')
    assert.equal(again.identity, good.identity)
  })

  test('of characters that no token has is refused as no token', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', minLength: 1 }), async text => {
        const good = token()
        const verdict = await verifier().verify(good.replace('.', `${text}.`))
        assert.equal(verdict.kind, 'refused')
        if (!/^[\w-]+$/.test(text)) assert.equal(codeOf(verdict), 'token_invalid')
      }),
    )
  })
})
