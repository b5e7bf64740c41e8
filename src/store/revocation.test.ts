import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isSame, isTellable, join, type Revocation, refusedUpTo, revocationOf } from './revocation.ts'

const SESSIONS = ['s1', 's2', 's3'] as const
const moments = fc.integer({ min: 1, max: 8 })

/** What somebody says: sign-outs of all, of all others, and that one was taken back. */
const words = fc.oneof(
  fc
    .record({ upTo: moments, until: moments })
    .map(({ upTo, until }) => revocationOf('user', 'u', upTo, until)),
  fc
    .record({ upTo: moments, until: moments, spared: fc.constantFrom(...SESSIONS) })
    .map(({ spared, upTo, until }) => ({ ...revocationOf('user', 'u', upTo, until), spared })),
  fc
    .record({ restored: moments, until: moments })
    .map(({ restored, until }) => ({ ...revocationOf('user', 'u', 0, until), restored })),
)
const all = (said: readonly Revocation[]): Revocation => said.reduce(join)

test('refused is what any of all words refuses and none takes back, for each session', () => {
  fc.assert(
    fc.property(fc.array(words, { minLength: 1, maxLength: 8 }), said => {
      const together = all(said)
      const restored = Math.max(...said.map(word => word.restored))
      for (const session of [...SESSIONS, null]) {
        const refusing = said.filter(({ spared }) => spared === null || spared !== session)
        const moment = Math.max(0, ...refusing.map(({ upTo }) => upTo))
        assert.equal(refusedUpTo(together, session), moment > restored ? moment : 0)
      }
      assert.equal(together.until, Math.max(...said.map(({ until }) => until)))
    }),
  )
})

test('the order makes no difference, nor does hearing it twice', () => {
  const pair = fc.tuple(
    fc.array(words, { minLength: 1, maxLength: 6 }),
    fc.array(words, { minLength: 1, maxLength: 6 }),
  )
  fc.assert(
    fc.property(pair, ([some, others]) => {
      const [one, other] = [all(some), all(others)]
      assert.deepEqual(join(one, other), join(other, one))
      assert.deepEqual(join(one, other), all([...others, ...some]))
      assert.ok(isSame(join(one, join(one, other)), join(one, other)))
    }),
  )
})

test('names that would arrive as others cannot be told', () => {
  assert.ok(isTellable('a:b\n"\u0000é'))
  for (const id of ['', 'a'.repeat(257), 'a\ud800']) assert.equal(isTellable(id), false)
})
