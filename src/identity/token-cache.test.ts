import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Identity } from './identity.ts'
import { TokenCache } from './token-cache.ts'

function identity(userId: string, expiresAt = 1_000): Identity {
  return { userId, companyId: null, email: null, claims: {}, expiresAt }
}

describe('the cache of verified tokens', () => {
  test('gives what was put in under the whole token, and nothing for another one', () => {
    const cache = new TokenCache(1_000_000)
    const ana = identity('ana')
    cache.set('token-a', ana)
    assert.equal(cache.get('token-a', 0), ana)
    for (const other of ['token-b', 'token-', 'token-aa', 'TOKEN-A', '', '__proto__']) {
      assert.equal(cache.get(other, 0), undefined)
    }
  })

  test('gives nothing from the second of expiry on', () => {
    const cache = new TokenCache(1_000_000)
    cache.set('t', identity('ana', 100))
    assert.notEqual(cache.get('t', 99.9), undefined)
    assert.equal(cache.get('t', 100), undefined)
    assert.equal(cache.get('t', 0), undefined, 'an expired token came back')
  })

  test('forgets everything when told to', () => {
    const cache = new TokenCache(20_000)
    for (let i = 0; i < 20; i++) cache.set(`t${i}`, identity('ana'))
    assert.ok(cache.size > 0)
    cache.clear()
    assert.equal(cache.size, 0)
    for (let i = 0; i < 20; i++) assert.equal(cache.get(`t${i}`, 0), undefined)
  })

  test('keeps a token that is in use through a flood of others', () => {
    const cache = new TokenCache(100_000)
    const ana = identity('ana')
    cache.set('in-use', ana)
    for (let i = 0; i < 2_000; i++) {
      cache.set(`other-${i}`, identity('bob'))
      assert.equal(cache.get('in-use', 0), ana, `gone after ${i}`)
    }
    assert.equal(cache.get('other-0', 0), undefined)
  })

  test('stays within its bytes and never makes anything up, whatever happens', () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('set' as const),
        token: fc.nat({ max: 40 }),
        length: fc.nat({ max: 3_000 }),
        expires: fc.nat({ max: 50 }),
      }),
      fc.record({ kind: fc.constant('get' as const), token: fc.nat({ max: 40 }), now: fc.nat({ max: 50 }) }),
      fc.record({ kind: fc.constant('clear' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 0, max: 60_000 }), (steps, bytes) => {
        const cache = new TokenCache(bytes)
        const put = new Map<string, Identity>()
        const tokens = new Map<number, string>()
        for (const one of steps) {
          if (one.kind === 'clear') {
            cache.clear()
            put.clear()
          } else if (one.kind === 'set') {
            const token = `${one.token}:${'x'.repeat(one.length)}`
            const value = identity(token, one.expires)
            tokens.set(one.token, token)
            put.set(token, value)
            cache.set(token, value)
          } else {
            const token = tokens.get(one.token) ?? ''
            const found = cache.get(token, one.now)
            if (found !== undefined) {
              assert.equal(found, put.get(token))
              assert.ok(found.expiresAt > one.now)
            }
          }
          assert.ok(cache.size * 2_000 <= bytes, `${cache.size} entries in ${bytes} bytes`)
        }
      }),
    )
  })
})
