import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import type { Claims, Identity } from './identity.ts'
import { TokenCache } from './token-cache.ts'

function identity(userId: string, expiresAt = 1_000, claims: Claims = {}): Identity {
  return { userId, companyId: null, email: null, claims, expiresAt, issuedAt: 0, sessionId: null }
}

/** The bytes of one entry of these tests, near enough. */
const ENTRY = 500

/** Bytes of heap in use when everything unreachable is gone. */
function heapInUse(): number {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  collect()
  return process.memoryUsage().heapUsed
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

  for (const [crowd, perRequest] of [
    [100_000, 1],
    [100_000, 10],
    [100_000, 100],
  ] as const) {
    test(`keeps 1,000 tokens in use while ${crowd} pass by, ${perRequest} for each request of theirs`, () => {
      const cache = new TokenCache(5_000 * ENTRY)
      const regular = Array.from({ length: 1_000 }, (_, i) => `regular-${i}`)
      const ask = (token: string): boolean => {
        if (cache.get(token, 0) !== undefined) return true
        cache.set(token, identity(token))
        return false
      }
      for (let round = 0; round < 2; round++) for (const token of regular) ask(token)
      let asked = 0
      let hits = 0
      for (let i = 0; i < crowd; i++) {
        ask(`crowd-${i}`)
        if (i % perRequest !== 0) continue
        if (ask(regular[asked++ % regular.length]!)) hits++
      }
      assert.ok(hits >= 0.99 * asked, `${hits} hits of ${asked}`)
    })
  }

  test('takes in newcomers that are used again while a crowd passes by', () => {
    const cache = new TokenCache(5_000 * ENTRY)
    for (let i = 0; i < 10_000; i++) cache.set(`crowd-${i}`, identity('x'))
    const bob = identity('bob')
    cache.set('newcomer', bob)
    for (let i = 0; i < 100; i++) cache.set(`crowd-a${i}`, identity('x'))
    assert.equal(cache.get('newcomer', 0), bob)
    for (let i = 0; i < 100_000; i++) cache.set(`crowd-b${i}`, identity('x'))
    assert.equal(cache.get('newcomer', 0), bob)
  })

  test('lets those go that are no longer asked for', () => {
    const cache = new TokenCache(1_000 * ENTRY)
    const generations = Array.from({ length: 5 }, (_, g) =>
      Array.from({ length: 700 }, (_, i) => `${g}-${i}`),
    )
    for (const tokens of generations) {
      let hits = 0
      for (let round = 0; round < 20; round++) {
        for (const token of tokens) {
          if (cache.get(token, 0) === undefined) cache.set(token, identity(token))
          else if (round === 19) hits++
        }
      }
      assert.ok(hits >= 0.95 * tokens.length, `${hits} hits`)
    }
    assert.equal(cache.get('0-0', 0), undefined)
  })

  test('does not keep the text in memory that a token was cut from', () => {
    const cache = new TokenCache(10_000_000)
    const before = heapInUse()
    for (let i = 0; i < 200; i++) {
      const head = Buffer.from(`${'x'.repeat(100_000)}${i}`).toString('latin1')
      cache.set(head.slice(-500), identity('ana'))
    }
    assert.ok(heapInUse() - before < 2_000_000, 'the heads are still there')
    assert.equal(cache.size, 200)
  })

  const shapes: [string, () => unknown][] = [
    ['common claims', () => ({ app_metadata: { company_id: 'a', roles: [unique(), unique()] }, exp: 1 })],
    ['empty objects', () => Array.from({ length: 1_000 }, () => ({}))],
    ['empty lists', () => Array.from({ length: 1_000 }, () => [])],
    ['names of their own', () => Array.from({ length: 200 }, () => ({ [unique()]: 1 }))],
    ['many names', () => Object.fromEntries(Array.from({ length: 300 }, () => [unique(), 1]))],
    ['nesting', () => JSON.parse('['.repeat(1_500) + ']'.repeat(1_500))],
    ['a wide text', () => `${'x'.repeat(5_000)}\u0100${unique()}`],
    ['fractions', () => ['x', ...Array.from({ length: 1_000 }, (_, i) => i + 0.5)]],
  ]
  for (const [what, shape] of shapes) {
    test(`counts at least the bytes that its entries take: ${what}`, () => {
      const cache = new TokenCache(100_000_000)
      const entry = (): void =>
        cache.set(
          unique().repeat(20),
          identity(unique(), 1_000, JSON.parse(JSON.stringify({ shape: shape() }))),
        )
      for (let i = 0; i < 20; i++) entry()
      // What else lives in this process comes and goes now and then: the middle one of three counts
      const measured = Array.from({ length: 3 }, () => {
        const [bytes, heap] = [cache.bytes, heapInUse()]
        for (let i = 0; i < 200; i++) entry()
        return { taken: heapInUse() - heap, counted: cache.bytes - bytes }
      })
      const { taken, counted } = measured.sort((a, b) => a.taken - b.taken)[1]!
      assert.ok(taken > 0 && taken < 1.1 * counted, `${taken} taken, ${counted} counted`)
    })
  }

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
          assert.ok(
            cache.bytes <= bytes && cache.size * ENTRY * 0.8 <= bytes,
            `${cache.size} entries in ${bytes} bytes`,
          )
        }
      }),
    )
  })
})

let count = 0
/** A text of ten characters that was never there before. */
function unique(): string {
  return `u${String(count++).padStart(9, '0')}`
}
