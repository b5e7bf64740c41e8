/**
 * Two threads, one after the other in one: what the second does while the first is between looking and writing happens
 * in the first one's step, so these moments come every time and not once in a thousand runs.
 */

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DECLINED, SharedCounters } from './shared-counters.ts'

const START = 1_800_000_000_000
/** The names made by `full` expire here; the first thread's clock stands just before. */
const EXPIRY = START + 1_000
const BEFORE = EXPIRY - 100
const LATER = EXPIRY + 60_000
const SLOTS = 30

interface Pair {
  readonly first: SharedCounters
  readonly second: SharedCounters
}

/** A table of one bucket whose 30 slots hold `old-…` names, each at `value`. */
function full(value: number): Pair {
  const first = SharedCounters.create({ capacity: 1, now: START })
  for (let name = 0; name < SLOTS; name++) first.add(first.key(`old-${name}`), value, EXPIRY, START)
  return { first, second: SharedCounters.attach(first.buffer) }
}

/** Takes over all slots, by a clock that finds them expired. */
function takeOver(counters: SharedCounters, value: number, expiresAt: number): void {
  for (let name = 0; name < SLOTS; name++)
    assert.equal(counters.add(counters.key(`new-${name}`), value, expiresAt, EXPIRY), value)
}

/** A step that adds 1, and does something else the first time it is called. */
function interrupted(interruption: () => void): { step: (current: number) => number; calls: number } {
  const made = {
    calls: 0,
    step: (current: number): number => {
      if (made.calls++ === 0) interruption()
      return current + 1
    },
  }
  return made
}

describe('a slot that was taken over between look and write', () => {
  for (const expiresAt of [EXPIRY, LATER]) {
    const kept = expiresAt === EXPIRY ? 'kept' : 'lengthened'
    test(`does not count for its new name what was meant for the old one, its life ${kept}`, () => {
      for (let name = 0; name < SLOTS; name++) {
        const { first, second } = full(0)
        const { step } = interrupted(() => takeOver(second, 0, EXPIRY + 500))
        // The same value in the same slot, of another name: only the generation tells them apart.
        assert.equal(first.update(first.key(`old-${name}`), step, 0, 0, expiresAt, BEFORE), null)
        for (let other = 0; other < SLOTS; other++)
          assert.equal(second.read(second.key(`new-${other}`), EXPIRY), 0)
      }
    })
  }

  test('does not live longer by what was meant for the old one', () => {
    const { first, second } = full(0)
    const { step } = interrupted(() => takeOver(second, 5, EXPIRY + 500))
    first.update(first.key('old-3'), step, 0, 0, LATER, BEFORE)
    for (let other = 0; other < SLOTS; other++) {
      assert.equal(second.read(second.key(`new-${other}`), EXPIRY + 499), 5)
      assert.equal(second.read(second.key(`new-${other}`), EXPIRY + 500), 0)
    }
  })

  test('does not refuse for what it held before', () => {
    const { first, second } = full(1)
    let calls = 0
    const decline = (current: number): number => {
      if (calls++ > 0) return current + 1
      for (let name = 0; name < SLOTS; name++) second.add(second.key(`old-${name}`), 7, EXPIRY + 500, EXPIRY)
      return DECLINED
    }
    assert.equal(first.update(first.key('old-3'), decline, 0, 0, EXPIRY, BEFORE), 8)
  })
})

describe('a name that expired by one clock and not yet by another', () => {
  test('has one counter all the same', () => {
    for (let name = 0; name < SLOTS; name++) {
      const { first, second } = full(9)
      const key = first.key(`old-${name}`)
      // All slots have expired by the second clock: it may take any, and has to take the one of this name.
      const { step, calls } = interrupted(() => assert.equal(second.add(key, 3, LATER, EXPIRY), 3))
      assert.equal(first.update(key, step, 0, 0, LATER, BEFORE), 4, `after ${calls} calls`)
      assert.equal(second.read(key, EXPIRY), 4)
    }
  })

  test('keeps what was added while it was alive by the slower clock, if that came first', () => {
    const { first, second } = full(9)
    const key = first.key('old-3')
    assert.equal(first.add(key, 1, LATER, BEFORE), 10)
    assert.equal(second.add(key, 1, LATER, EXPIRY), 11)
  })
})

describe('a counter that is resumed after it expired', () => {
  const arrive = (current: number, amount: number): number => current + amount

  test('goes on from what it held, and lives again for all', () => {
    const { first, second } = full(9)
    const key = first.key('old-3')
    assert.equal(first.resume(key, arrive, 1, 0, LATER, EXPIRY), 10)
    assert.equal(second.read(key, LATER - 1), 10)
    assert.equal(second.add(key, 1, LATER, EXPIRY), 11)
  })

  test('begins anew when another name has its place, and takes nothing of that', () => {
    for (let name = 0; name < SLOTS; name++) {
      const { first, second } = full(9)
      for (let other = 0; other < SLOTS - 1; other++)
        second.add(second.key(`new-${other}`), 5, EXPIRY + 500, EXPIRY)
      const resumed = first.resume(first.key(`old-${name}`), arrive, 1, 0, LATER, EXPIRY)
      assert.ok(resumed === 10 || resumed === 1, `${resumed}`)
      for (let other = 0; other < SLOTS - 1; other++)
        assert.equal(second.read(second.key(`new-${other}`), EXPIRY + 499), 5)
    }
  })

  test('begins anew when its place is taken between look and write', () => {
    const { first, second } = full(9)
    const { step } = interrupted(() => takeOver(second, 5, EXPIRY + 500))
    assert.equal(first.resume(first.key('old-3'), step, 0, 0, LATER, EXPIRY), null)
    for (let other = 0; other < SLOTS; other++)
      assert.equal(second.read(second.key(`new-${other}`), EXPIRY + 499), 5)
  })

  test('counts once what another adds who begins it anew meanwhile', () => {
    const { first, second } = full(9)
    const key = first.key('old-3')
    const { step } = interrupted(() => assert.equal(second.add(key, 3, LATER, EXPIRY), 3))
    assert.equal(first.resume(key, step, 0, 0, LATER, EXPIRY), 4)
    assert.equal(second.read(key, EXPIRY), 4)
  })
})

test('a value that changed between look and write is looked at again', () => {
  const { first, second } = full(1)
  const key = first.key('old-3')
  const made = interrupted(() => second.add(key, 10, EXPIRY, START))
  assert.equal(first.update(key, made.step, 0, 0, EXPIRY, START), 12)
  assert.equal(made.calls, 2)
})

test('a life that was lengthened between look and write is not shortened', () => {
  const { first, second } = full(1)
  const key = first.key('old-3')
  const { step } = interrupted(() => second.add(key, 0, LATER, START))
  assert.equal(first.update(key, step, 0, 0, EXPIRY + 500, START), 2)
  assert.equal(first.read(key, LATER - 1), 2)
})
