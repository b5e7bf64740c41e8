import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CounterKey } from './counter-key.ts'
import { DECLINED, SharedCounters, type Step } from './shared-counters.ts'
import { WorkerCounters } from './worker-counters.ts'

const NOW = 1_800_000_000_000
const MINUTE = NOW + 60_000

/** Slots of a bucket: all that a table of the smallest capacity has. */
const SLOTS = 30

const create = (capacity = 100): SharedCounters => SharedCounters.create({ capacity, now: NOW })

describe('a shared counter', () => {
  test('starts at zero and tells its new value', () => {
    const counters = create()
    const key = counters.key('a')
    assert.equal(counters.read(key, NOW), 0)
    assert.equal(counters.add(key, 2, MINUTE, NOW), 2)
    assert.equal(counters.add(key, 3, MINUTE, NOW), 5)
    assert.equal(counters.read(key, NOW), 5)
  })

  test('is the same for everyone who attached', () => {
    const counters = create()
    const other = SharedCounters.attach(counters.buffer)
    counters.add(counters.key('a'), 7, MINUTE, NOW)
    assert.equal(other.read(other.key('a'), NOW), 7)
  })

  test('counts past 32 bits and stops at 2^53 - 1', () => {
    const counters = create()
    const key = counters.key('bytes')
    assert.equal(counters.add(key, 2 ** 32 - 1, MINUTE, NOW), 2 ** 32 - 1)
    assert.equal(counters.add(key, 1, MINUTE, NOW), 2 ** 32)
    assert.equal(counters.add(key, 2 ** 52 + 1, MINUTE, NOW), 2 ** 52 + 2 ** 32 + 1)
    assert.equal(counters.read(key, NOW), 2 ** 52 + 2 ** 32 + 1)
    assert.equal(counters.add(key, 2 ** 53 - 1, MINUTE, NOW), Number.MAX_SAFE_INTEGER)
    assert.equal(counters.release(key, 1, NOW), Number.MAX_SAFE_INTEGER - 1)
  })

  test('grants up to the limit and not one more', () => {
    const counters = create()
    const key = counters.key('a')
    assert.equal(counters.take(key, 2, 5, MINUTE, NOW), true)
    assert.equal(counters.take(key, 4, 5, MINUTE, NOW), false)
    assert.equal(counters.take(key, 3, 5, MINUTE, NOW), true)
    assert.equal(counters.take(key, 1, 5, MINUTE, NOW), false)
    assert.equal(counters.read(key, NOW), 5)
  })

  test('lets what it holds be drawn, and makes nothing where nothing is', () => {
    const counters = create()
    const key = counters.key('a')
    assert.equal(counters.draw(key, 1, NOW), DECLINED)
    counters.add(key, 5, NOW + 200, NOW)
    assert.equal(counters.draw(key, 2, NOW), 3)
    assert.equal(counters.draw(key, 4, NOW), DECLINED)
    assert.equal(counters.draw(key, 3, NOW), 0)
    counters.add(key, 1, NOW + 200, NOW)
    assert.equal(counters.draw(key, 0, NOW + 199), 1)
    assert.equal(counters.draw(key, 1, NOW + 300), DECLINED, 'drawing lengthens no life')
  })

  test('grants again what was released, and releases no more than there is', () => {
    const counters = create()
    const key = counters.key('a')
    counters.take(key, 1, 1, MINUTE, NOW)
    assert.equal(counters.release(key, 1, NOW), 0)
    assert.equal(counters.release(key, 1, NOW), 0)
    assert.equal(counters.release(counters.key('never seen'), 1, NOW), 0)
    assert.equal(counters.take(key, 1, 1, MINUTE, NOW), true)
    assert.equal(counters.take(key, 1, 1, MINUTE, NOW), false)
  })

  test('changes by a function of its value, as GCRA needs it', () => {
    const counters = create()
    const key = counters.key('a')
    const [interval, burst] = [1_000_000, 2_000_000]
    const arrive: Step = (arrival, each, latest) => {
      const next = Math.max(arrival, latest - burst) + each
      return next > latest ? DECLINED : next
    }
    const request = (now: number): boolean =>
      counters.update(key, arrive, interval, now * 1000 + burst, now + 2_000, now) !== DECLINED
    assert.deepEqual([request(NOW), request(NOW), request(NOW)], [true, true, false])
    assert.deepEqual([request(NOW + 999), request(NOW + 1_000), request(NOW + 1_000)], [false, true, false])
  })

  test('is left alone by amounts that are negative or not numbers', () => {
    const counters = create()
    const key = counters.key('a')
    counters.add(key, 5, MINUTE, NOW)
    for (const amount of [-1, Number.NaN, Number.NEGATIVE_INFINITY]) {
      assert.equal(counters.add(key, amount, MINUTE, NOW), DECLINED)
      assert.equal(counters.take(key, amount, 10, MINUTE, NOW), false)
      assert.equal(counters.release(key, amount, NOW), 5)
    }
    assert.equal(counters.read(key, NOW), 5)
  })
})

describe('the life of a counter', () => {
  test('ends at its expiry, and it starts from zero again', () => {
    const counters = create()
    const key = counters.key('a')
    counters.add(key, 5, MINUTE, NOW)
    assert.equal(counters.read(key, MINUTE - 1), 5)
    assert.equal(counters.read(key, MINUTE), 0)
    assert.equal(counters.add(key, 1, MINUTE + 60_000, MINUTE), 1)
  })

  test('is lengthened by what is counted, never shortened', () => {
    const counters = create()
    const key = counters.key('a')
    counters.add(key, 1, NOW + 1_000, NOW)
    counters.add(key, 1, MINUTE, NOW)
    counters.add(key, 1, NOW + 1_000, NOW)
    assert.equal(counters.read(key, MINUTE - 1), 3)
  })

  test('is rounded up to a tenth of a second', () => {
    const counters = create()
    const key = counters.key('a')
    counters.add(key, 1, NOW + 101, NOW)
    assert.equal(counters.read(key, NOW + 199), 1)
    assert.equal(counters.read(key, NOW + 200), 0)
  })

  test('is not lengthened by a refusal', () => {
    const counters = create()
    const key = counters.key('a')
    counters.take(key, 1, 1, NOW + 1_000, NOW)
    counters.take(key, 1, 1, MINUTE, NOW)
    assert.equal(counters.read(key, NOW + 1_000), 0)
  })

  test('may be as long as the table’s', () => {
    const counters = create()
    const key = counters.key('a')
    counters.add(key, 1, Number.POSITIVE_INFINITY, NOW)
    assert.equal(counters.read(key, NOW + 6 * 365 * 86_400_000), 1)
  })

  test('bears clocks that are wrong', () => {
    const counters = create()
    const key = counters.key('a')
    for (const now of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      for (const expiresAt of [0, Number.NaN, Number.POSITIVE_INFINITY, now])
        assert.equal(typeof counters.add(key, 1, expiresAt, now), 'number')
  })
})

describe('a table that is full', () => {
  test('answers null for one more name, counts that, and serves the others', () => {
    const counters = create(1)
    for (let name = 0; name < SLOTS; name++)
      assert.equal(counters.add(counters.key(`n${name}`), name, MINUTE, NOW), name)
    const one = counters.key('one more')
    assert.equal(counters.add(one, 1, MINUTE, NOW), null)
    assert.equal(counters.take(one, 1, 1, MINUTE, NOW), null)
    assert.equal(counters.overflows, 2)
    assert.equal(counters.read(one, NOW), 0)
    for (let name = 0; name < SLOTS; name++) assert.equal(counters.read(counters.key(`n${name}`), NOW), name)
  })

  test('takes new names when old ones have expired', () => {
    const counters = create(1)
    for (let round = 0; round < 5_000; round++) {
      const now = NOW + round * 100
      for (let name = 0; name < SLOTS; name++)
        assert.equal(counters.add(counters.key(`${round % 7}|${name}`), 1, now + 100, now), 1)
    }
    assert.equal(counters.overflows, 0)
  })

  test('is far away at its capacity, whatever the names look like', () => {
    const capacity = 20_000
    const counters = create(capacity)
    for (let name = 0; name < capacity; name++) counters.add(counters.key(String(name)), name, MINUTE, NOW)
    // Two buckets in a million overflow, here of 1,667; the seed is new each time.
    assert.ok(counters.overflows <= 3, `${counters.overflows} overflows`)
    let right = 0
    for (let name = 0; name < capacity; name++)
      if (counters.read(counters.key(String(name)), NOW) === name) right++
    assert.ok(right >= capacity - 3, `${right} of ${capacity}`)
  })
})

describe('the hash of names', () => {
  test('differs between tables, so that collisions cannot be computed ahead', () => {
    assert.notDeepEqual(create().key('a'), create().key('a'))
  })

  test('tells names apart that a careless one would not', () => {
    const counters = create()
    const names = [
      '',
      '\0',
      '\0\0',
      '\0\0\0',
      'a',
      'a\0',
      '\0a',
      'ab',
      'ba',
      'é',
      'e\u0301',
      '\ud800',
      '\udc00',
    ]
    const hashes = new Set(names.map(name => JSON.stringify(counters.key(name))))
    assert.equal(hashes.size, names.length)
  })

  test('is compared as a whole: one bit more or less is another counter', () => {
    const counters = create(1)
    const { tag, second, third } = counters.key('a')
    const near = [
      new CounterKey(tag ^ 1, second, third),
      new CounterKey(tag, second ^ 1, third),
      new CounterKey(tag, second, third ^ 1),
    ]
    counters.add(counters.key('a'), 9, MINUTE, NOW)
    for (const key of near) assert.equal(counters.read(key, NOW), 0)
    for (const key of near) assert.equal(counters.add(key, 1, MINUTE, NOW), 1)
    assert.equal(counters.read(counters.key('a'), NOW), 9)
  })

  test('changes half of its bits with one bit of the name', () => {
    const counters = create()
    const words = (name: string): number[] => Object.values(counters.key(name))
    let changed = 0
    const rounds = 2_000
    for (let round = 0; round < rounds; round++) {
      const before = words(`company-${round * 2}`)
      // The last digit of an even number and of the next: one bit apart.
      const after = words(`company-${round * 2 + 1}`)
      for (const [at, word] of before.entries()) changed += bitsOf(word ^ after[at]!)
    }
    const mean = changed / rounds
    assert.ok(mean > 47 && mean < 49, `${mean} of 96`)
  })
})

describe('attaching', () => {
  test('refuses what is not a table of this layout', () => {
    const attach = (buffer: SharedArrayBuffer) => () => SharedCounters.attach(buffer)
    assert.throws(attach(new SharedArrayBuffer(8)), /too short/)
    assert.throws(attach(new SharedArrayBuffer(4_096)), /not a buffer of shared counters/)
    assert.throws(attach(WorkerCounters.create({ totals: ['a'], gauges: [] }, 1).buffer), /not a buffer/)
    const newer = create().buffer
    new Int32Array(newer)[1] = 99
    assert.throws(attach(newer), /layout 99/)
    const { buffer } = create()
    const cut = new SharedArrayBuffer(buffer.byteLength - 512)
    new Uint8Array(cut).set(new Uint8Array(buffer, 0, cut.byteLength))
    assert.throws(attach(cut), /another size/)
  })

  test('refuses capacities that make no sense', () => {
    for (const capacity of [0, -1, Number.NaN, 1e9]) assert.throws(() => create(capacity), RangeError)
  })
})

function bitsOf(word: number): number {
  let bits = 0
  for (let left = word; left !== 0; left &= left - 1) bits++
  return bits
}
