import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Derived } from './derived.ts'

describe('what was derived from a subject', () => {
  test('is worked out once for each asker, from the subject itself', () => {
    const subject = { name: 'subject' }
    const derived = new Derived(subject)
    const [first, second] = [{}, {}]
    let works = 0
    const work = (given: { name: string }): string => `${given.name} ${++works}`
    assert.equal(derived.get(first, work), 'subject 1')
    assert.equal(derived.get(second, work), 'subject 2')
    assert.equal(derived.get(first, work), 'subject 1')
    assert.equal(derived.get(second, work), 'subject 2')
    assert.equal(works, 2)
  })

  test('is kept when it is false, zero, empty or null', () => {
    for (const result of [false, 0, '', null, Number.NaN]) {
      const derived = new Derived({})
      const asker = {}
      let works = 0
      const work = (): unknown => {
        works++
        return result
      }
      assert.equal(Object.is(derived.get(asker, work), result), true)
      assert.equal(Object.is(derived.get(asker, work), result), true)
      assert.equal(works, 1, String(result))
    }
  })

  test('is not kept when the work failed: the next one fails by itself', () => {
    const derived = new Derived({})
    const asker = {}
    let works = 0
    const failing = (): never => {
      throw new Error(`failure ${++works}`)
    }
    assert.throws(() => derived.get(asker, failing), { message: 'failure 1' })
    assert.throws(() => derived.get(asker, failing), { message: 'failure 2' })
    assert.equal(
      derived.get(asker, () => 'good'),
      'good',
    )
  })

  test('is never that of another asker or subject, however many there are and in whatever order they come', () => {
    const askers = Array.from({ length: 30 }, (_, number) => ({ number }))
    const order = fc.array(fc.tuple(fc.nat(2), fc.nat(29)), { maxLength: 200 })
    fc.assert(
      fc.property(order, turns => {
        const subjects = [0, 1, 2].map(number => new Derived({ number }))
        for (const [subject, asker] of turns) {
          const key = askers[asker]!
          assert.equal(
            subjects[subject]!.get(key, ({ number }) => `${number}/${key.number}`),
            `${subject}/${asker}`,
          )
        }
      }),
    )
  })

  test('is let go of when more ask than it keeps for', () => {
    const derived = new Derived({})
    const askers = Array.from({ length: 1_000 }, () => ({}))
    let works = 0
    const ask = (asker: object): number => derived.get(asker, () => ++works)
    for (const asker of askers) ask(asker)
    for (const asker of askers) ask(asker)
    assert.ok(works > 1_900, `${works}: all of them are held`)
  })
})
