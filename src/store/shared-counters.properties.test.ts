import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DECLINED, SharedCounters } from './shared-counters.ts'

const START = 1_800_000_000_000
const TICK = 100
const SLOTS = 30

/** What the table ought to be: names, values and expiries in a Map. */
class Model {
  readonly #entries = new Map<string, { value: number; expires: number }>()

  live(name: string, now: number): { value: number; expires: number } | undefined {
    const entry = this.#entries.get(name)
    return entry !== undefined && entry.expires > now ? entry : undefined
  }

  /** How many names are alive. */
  size(now: number): number {
    return [...this.#entries.keys()].filter(name => this.live(name, now) !== undefined).length
  }

  set(name: string, value: number, expires: number, now: number): void {
    const life = Math.max(expires, now + TICK, this.live(name, now)?.expires ?? 0)
    this.#entries.set(name, { value, expires: life })
  }
}

const amount = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 2 ** 50 }))
const name = fc.integer({ min: 0, max: 59 }).map(number => `name-${number}`)
/** In ticks from now; some have passed already. */
const life = fc.integer({ min: -2, max: 40 })

const operation = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('add' as const), name, amount, life }) },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('take' as const), name, amount, limit: amount, life }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('release' as const), name, amount }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const), name }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('read' as const), name }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ticks: fc.integer({ min: 1, max: 15 }) }),
  },
)

type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never

/** Does an operation on both and compares the answers. Returns the moment of the next one. */
function step(counters: SharedCounters, model: Model, done: Operation, now: number): number {
  if (done.kind === 'wait') return now + done.ticks * TICK
  const key = counters.key(done.name)
  const entry = model.live(done.name, now)
  const current = entry?.value ?? 0
  // One bucket, one thread: a new name is turned away exactly when 30 others are alive.
  const full = entry === undefined && model.size(now) >= SLOTS
  switch (done.kind) {
    case 'add': {
      const expires = now + done.life * TICK
      const expected = full ? null : Math.min(Number.MAX_SAFE_INTEGER, current + done.amount)
      assert.equal(counters.add(key, done.amount, expires, now), expected)
      if (expected !== null) model.set(done.name, expected, expires, now)
      break
    }
    case 'take': {
      const expires = now + done.life * TICK
      const granted = current + done.amount <= done.limit
      assert.equal(counters.take(key, done.amount, done.limit, expires, now), full ? null : granted)
      // A refusal leaves a new name with its short lease, which nothing but a full table could show: make it zero.
      if (!full && granted) model.set(done.name, current + done.amount, expires, now)
      else if (!full && entry === undefined)
        model.set(done.name, 0, Math.min(Math.max(expires, now + TICK), now + 10 * TICK), now)
      break
    }
    case 'release': {
      const left = Math.max(0, current - done.amount)
      assert.equal(counters.release(key, done.amount, now), left)
      if (entry !== undefined) entry.value = left
      break
    }
    case 'reset':
      counters.reset(key, now)
      if (entry !== undefined) entry.value = 0
      break
    case 'read':
      assert.equal(counters.read(key, now), current)
      break
  }
  return now
}

test('a table of one bucket answers as a Map with expiry does, full or not', () => {
  fc.assert(
    fc.property(fc.array(operation, { minLength: 60, maxLength: 300 }), operations => {
      const counters = SharedCounters.create({ capacity: 1, now: START })
      const model = new Model()
      let now = START
      for (const done of operations) now = step(counters, model, done, now)
      for (let number = 0; number < 60; number++)
        assert.equal(
          counters.read(counters.key(`name-${number}`), now),
          model.live(`name-${number}`, now)?.value ?? 0,
        )
    }),
    { numRuns: 200 },
  )
})

test('any integer from 0 to 2^53 - 1 is kept as it is, and any step is applied to it', () => {
  const value = fc.maxSafeNat()
  fc.assert(
    fc.property(value, value, (first, second) => {
      const counters = SharedCounters.create({ capacity: 1, now: START })
      const key = counters.key('a')
      const life = START + 60_000
      assert.equal(counters.add(key, first, life, START), first)
      const seen: number[] = []
      const note = (current: number, next: number): number => {
        seen.push(current)
        return next
      }
      assert.equal(counters.update(key, note, second, 0, life, START), second)
      assert.equal(
        counters.update(key, () => -second - 1, 0, 0, life, START),
        DECLINED,
      )
      assert.deepEqual(seen, [first])
      assert.equal(counters.read(key, START), second)
    }),
  )
})

test('names are told apart, whatever characters they have', () => {
  const names = fc.uniqueArray(fc.string({ unit: 'binary', maxLength: 40 }), { minLength: 2, maxLength: 30 })
  fc.assert(
    fc.property(names, all => {
      const counters = SharedCounters.create({ capacity: 1_000, now: START })
      for (const [at, each] of all.entries()) counters.add(counters.key(each), at + 1, START + 1_000, START)
      for (const [at, each] of all.entries()) assert.equal(counters.read(counters.key(each), START), at + 1)
    }),
  )
})
