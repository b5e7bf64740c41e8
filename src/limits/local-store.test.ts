import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { SharedCounters } from '../store/shared-counters.ts'
import { LocalStore } from './local-store.ts'
import type { Meter } from './meter.ts'
import { compileRule, type Rule, remaining, resetIn } from './rules.ts'
import { Slots } from './slots.ts'

const START = Date.parse('2026-11-27T12:00:00Z')
const DAY = 86_400_000

function ruleOf(over: Partial<Parameters<typeof compileRule>[0]>, timeZone = 'UTC'): Rule {
  const config = { name: 'r', unit: 'requests', by: 'company', dryRun: false, ...over } as const
  return compileRule(config as Parameters<typeof compileRule>[0], timeZone)
}

function storeAt(now = START) {
  const counters = SharedCounters.create({ capacity: 10_000, now })
  const era = new Int32Array(new SharedArrayBuffer(4))
  return { counters, era, store: new LocalStore(counters, new Slots(counters, era)) }
}

const meterOf = (rule: Rule, subject = 'company:acme'): Meter => storeAt().store.meter(rule, subject)
const taken = (meter: Meter, amount: number, now: number): number => meter.take(amount, now) as number

describe('a rate', () => {
  test('lets a burst pass, then one for each interval', () => {
    const meter = meterOf(ruleOf({ limit: 10, window: 1, burst: 3 }))
    const passed = (now: number): boolean => taken(meter, 1, now) >= 0
    assert.deepEqual(
      [0, 0, 0, 0].map(() => passed(START)),
      [true, true, true, false],
    )
    assert.equal(passed(START + 99), false)
    assert.equal(passed(START + 100), true)
    assert.equal(passed(START + 101), false)
  })

  test('says how long to wait, and then it passes', () => {
    const meter = meterOf(ruleOf({ limit: 10, window: 1, burst: 1 }))
    assert.ok(taken(meter, 1, START) >= 0)
    assert.equal(taken(meter, 1, START + 30), -70)
    assert.equal(taken(meter, 1, START + 99), -1)
    assert.ok(taken(meter, 1, START + 100) >= 0)
  })

  test('says what is left and when all of it is there again', () => {
    const rule = ruleOf({ limit: 10, window: 1, burst: 5 })
    const meter = meterOf(rule)
    assert.deepEqual(
      Array.from({ length: 5 }, () => remaining(rule, taken(meter, 1, START))),
      [4, 3, 2, 1, 0],
    )
    const level = taken(meter, 1, START + 250)
    assert.equal(remaining(rule, level), 1)
    assert.equal(resetIn(rule, level, START + 250), 1)
  })

  test('is another one for each subject', () => {
    const { store } = storeAt()
    const rule = ruleOf({ limit: 1, window: 60 })
    assert.ok(taken(store.meter(rule, 'company:acme'), 1, START) >= 0)
    assert.ok(taken(store.meter(rule, 'company:other'), 1, START) >= 0)
    assert.ok(taken(store.meter(rule, 'company:acme'), 1, START) < 0)
  })

  test('has no window edges: never more than the burst and what was earned since, in any span', () => {
    const limits = fc.record({
      limit: fc.integer({ min: 1, max: 5_000 }),
      window: fc.constantFrom(1, 7, 60, 3_600),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
      arrivals: fc.array(
        fc.record({ after: fc.integer({ min: 0, max: 5_000 }), amount: fc.integer({ min: 1, max: 20 }) }),
        { minLength: 1, maxLength: 200 },
      ),
    })
    fc.assert(
      fc.property(limits, ({ limit, window, part, arrivals }) => {
        const burst = Math.max(1, Math.round(limit * part))
        const meter = meterOf(ruleOf({ limit, window, burst }))
        // The exact reference: a bucket in whole numbers, where one unit is `limit * 1000` parts … of `window * 1000` ms
        const unit = BigInt(window) * 1000n
        let level = BigInt(burst) * unit
        let now = START
        for (const { after, amount } of arrivals) {
          now += after
          level += BigInt(after) * BigInt(limit)
          const most = BigInt(burst) * unit
          if (level > most) level = most
          const wanted = BigInt(amount) * unit
          const passes = level >= wanted
          const answer = taken(meter, amount, now)
          // Rounding may decide otherwise only where the two differ by less than a thousandth of a unit
          const near = level > wanted ? level - wanted : wanted - level
          if (near * 1000n > unit) assert.equal(answer >= 0, passes)
          if (answer >= 0) level -= wanted
        }
      }),
      { numRuns: 300 },
    )
  })

  test('keeps to 100,000 in a second, asked half a million times', () => {
    const meter = meterOf(ruleOf({ limit: 100_000, window: 1, burst: 1_000 }))
    let passed = 0
    for (let ms = 0; ms < 1_000; ms++) {
      for (let i = 0; i < 500; i++) if (taken(meter, 1, START + ms) >= 0) passed++
    }
    assert.ok(Math.abs(passed - 101_000) < 300, `${passed} passed`)
  })

  test('takes an amount that is known only afterwards from what comes next', () => {
    const meter = meterOf(ruleOf({ limit: 1_000, window: 1, unit: 'bytesOut' }))
    assert.ok(taken(meter, 0, START) >= 0)
    meter.charge(3_000, START)
    assert.equal(taken(meter, 0, START + 1_000), -1_001)
    assert.ok(taken(meter, 0, START + 2_001) >= 0)
  })

  test('remembers what is owed for as long as it is owed', () => {
    const meter = meterOf(ruleOf({ limit: 1, window: 1, burst: 1, unit: 'cost' }))
    for (let i = 0; i < 10; i++) meter.charge(100, START + i)
    assert.ok(taken(meter, 1, START + 990_000) < 0)
    assert.ok(taken(meter, 1, START + 1_001_000) >= 0)
  })

  test('is not owed more than it ever grants, by a clock that was set back or a plan that was slower', () => {
    const { store } = storeAt(START - DAY)
    const meter = store.meter(ruleOf({ limit: 10, window: 1 }), 'company:acme')
    for (let i = 0; i < 11; i++) taken(meter, 1, START)
    const setBack = START - 3_600_000
    assert.equal(taken(meter, 1, setBack), -100)
    assert.ok(taken(meter, 1, setBack + 100) >= 0)

    const slow = store.meter(ruleOf({ limit: 10, window: 3_600 }), 'company:other')
    for (let i = 0; i < 11; i++) taken(slow, 1, START)
    const fast = store.meter(ruleOf({ limit: 36_000, window: 3_600, burst: 100 }), 'company:other')
    assert.equal(taken(fast, 1, START), -100)
    assert.ok(taken(fast, 1, START + 100) >= 0)
  })

  describe('of costs, whose plan changes,', () => {
    const slowRule = ruleOf({ limit: 100, window: 3_600, unit: 'cost' })
    const fastRule = ruleOf({ limit: 36_000, window: 3_600, burst: 100, unit: 'cost' })
    const both = () => {
      const { store } = storeAt()
      return [store.meter(slowRule, 'company:acme'), store.meter(fastRule, 'company:acme')] as const
    }

    test('to a faster one owes as many units as before, and not the time of the slower one', () => {
      const [slow, fast] = both()
      slow.charge(1_000, START)
      // Ten hours of the slower one
      assert.ok(taken(slow, 1, START) < -32_000_000)
      assert.ok(taken(fast, 1, START) < 0)
      assert.ok(Math.abs(taken(fast, 1, START) + 90_100) < 10, `${taken(fast, 1, START)}`)
      assert.ok(taken(fast, 1, START + 90_000) < 0)
      assert.ok(taken(fast, 1, START + 90_200) >= 0)
    })

    test('to a faster one waits for no more than its own burst for what it was granted', () => {
      const [slow, fast] = both()
      assert.ok(taken(slow, 100, START) >= 0)
      assert.ok(taken(fast, 1, START) < 0)
      assert.ok(taken(fast, 1, START + 101) >= 0)
    })

    test('to a slower one owes the time of the faster one, and that is not made less by going to and fro', () => {
      const [slow, fast] = both()
      fast.charge(1_000, START)
      for (let count = 0; count < 3; count++) {
        slow.charge(0.01, START)
        assert.ok(taken(slow, 0, START) >= 0, 'it is within its hour')
        fast.charge(1_000, START)
        assert.ok(taken(fast, 0, START) < 0)
      }
      // 400 seconds of the faster one, a second of the slower one, less the ten that may come at once
      assert.ok(taken(fast, 0, START + 391_000) < 0)
      assert.ok(taken(fast, 0, START + 391_100) >= 0)
    })
  })

  test('is not mistaken for a quota, nor a quota of costs for one of requests', () => {
    const { store } = storeAt()
    const month = store.meter(ruleOf({ limit: 1_000, window: 'month' }), 'company:acme')
    store.meter(ruleOf({ limit: 10, window: 60 }), 'company:acme|2026-11').take(1, START)
    store.meter(ruleOf({ limit: 100, window: 'month', unit: 'cost' }), 'company:acme').take(5, START)
    assert.equal(taken(month, 1, START), 1)
    const requests = store.meter(ruleOf({ concurrent: 1 }), 'company:acme')
    store.meter(ruleOf({ sockets: 1 }), 'company:acme').take(1, START)
    assert.equal(taken(requests, 1, START), 1)
  })

  test('gives back', () => {
    const meter = meterOf(ruleOf({ limit: 1, window: 60 }))
    assert.ok(taken(meter, 1, START) >= 0)
    meter.giveBack(1, START)
    assert.ok(taken(meter, 1, START) >= 0)
  })
})

describe('a quota', () => {
  const rule = ruleOf({ limit: 3, window: 'day' }, 'Europe/Madrid')

  test('is there until it is used, and again with the next day', () => {
    const meter = meterOf(rule)
    const evening = Date.parse('2026-11-27T22:00:00Z')
    assert.deepEqual(
      [1, 1, 1].map(amount => taken(meter, amount, evening)),
      [1, 2, 3],
    )
    assert.equal(taken(meter, 1, evening), -3_600_000)
    assert.equal(taken(meter, 1, evening + 3_600_000), 1)
  })

  test('that is used up says so when it is asked with nothing', () => {
    const meter = meterOf(rule)
    assert.equal(taken(meter, 0, START), 0)
    meter.charge(5, START)
    assert.ok(taken(meter, 0, START) < 0)
    assert.equal(remaining(rule, 5), 0)
  })

  test('counts costs in parts of a unit', () => {
    const meter = meterOf(ruleOf({ limit: 1, window: 'day', unit: 'cost' }))
    assert.deepEqual([taken(meter, 0.4, START), taken(meter, 0.4, START)], [0.4, 0.8])
    assert.ok(taken(meter, 0.4, START) < 0)
    meter.giveBack(0.25, START)
    assert.equal(taken(meter, 0.4, START), 0.95)
  })

  test('counts small costs as what they are, to a thousandth', () => {
    const meter = meterOf(ruleOf({ limit: 1, window: 'day', unit: 'cost' }))
    let passed = 0
    while (taken(meter, 0.0019, START) >= 0) passed++
    assert.equal(passed, 500)
  })

  test('gives back', () => {
    const meter = meterOf(rule)
    taken(meter, 3, START)
    meter.giveBack(2, START)
    assert.equal(taken(meter, 1, START), 2)
  })
})

describe('slots', () => {
  const rule = ruleOf({ concurrent: 2 })

  test('are as many as there are', () => {
    const meter = meterOf(rule)
    assert.deepEqual([taken(meter, 1, START), taken(meter, 1, START)], [1, 2])
    assert.ok(taken(meter, 1, START) < 0)
    meter.giveBack(1, START)
    assert.equal(taken(meter, 1, START), 2)
  })

  test('of a worker that died are free, those of the others are not', () => {
    const { counters, era } = storeAt()
    const [alive, dead] = [new Slots(counters, era), new Slots(counters, era)]
    assert.equal(alive.take('a', 3, START), 1)
    assert.equal(dead.take('a', 3, START), 2)
    assert.equal(dead.take('a', 3, START), 3)
    Slots.beginEra(era)
    assert.equal(alive.take('a', 3, START), 2)
    assert.equal(alive.take('a', 3, START), 3)
    assert.ok(alive.take('a', 3, START) < 0)
  })

  test('that were taken in an era before are given back in this one', () => {
    const { counters, era } = storeAt()
    const slots = new Slots(counters, era)
    slots.take('a', 1, START)
    Slots.beginEra(era)
    slots.giveBack('a', START)
    assert.equal(slots.take('a', 1, START), 1)
  })

  describe('that are held while the clock is set ahead', () => {
    const STEP = 3_600_000

    test('are counted anew by the next one who asks', () => {
      const { counters, era } = storeAt()
      const slots = new Slots(counters, era)
      for (const name of ['a', 'a', 'b']) slots.take(name, 3, START)
      assert.equal(slots.take('b', 3, START + STEP), 2)
      assert.equal(slots.take('a', 3, START + STEP), 3)
      assert.ok(slots.take('a', 3, START + STEP) < 0)
      slots.giveBack('a', START + STEP)
      assert.equal(slots.take('a', 3, START + STEP), 3)
    })

    test('are counted once, by each worker that holds some', t => {
      t.mock.timers.enable({ apis: ['Date', 'setInterval'], now: START })
      const { counters, era } = storeAt()
      const [a, b, idle] = [0, 1, 2].map(() => new Slots(counters, era)) as [Slots, Slots, Slots]
      for (const [slots, count] of [
        [a, 2],
        [b, 3],
      ] as const)
        for (let taken = 0; taken < count; taken++) slots.take('a', 9, START)
      t.mock.timers.setTime(START + STEP)
      // Timers go by a clock that nobody sets
      t.mock.timers.tick(10_000)
      const now = Date.now()
      assert.equal(idle.take('a', 9, now), 6)
      t.mock.timers.tick(10_000)
      assert.equal(idle.take('a', 9, Date.now()), 7)
      for (let taken = 0; taken < 2; taken++) a.giveBack('a', Date.now())
      for (let taken = 0; taken < 3; taken++) b.giveBack('a', Date.now())
      assert.equal(idle.take('a', 9, Date.now()), 3)
    })

    test('and those that are held for long without that stay counted as they are', t => {
      t.mock.timers.enable({ apis: ['Date', 'setInterval'], now: START })
      const { counters, era } = storeAt()
      const slots = new Slots(counters, era)
      slots.take('a', 2, START)
      for (let count = 0; count < 60; count++) t.mock.timers.tick(10_000)
      assert.equal(era[0], 0)
      assert.equal(slots.take('a', 2, Date.now()), 2)
    })
  })
})

test('a table without room lets pass', () => {
  const counters = SharedCounters.create({ capacity: 1, now: START })
  const store = new LocalStore(counters, new Slots(counters, new Int32Array(new SharedArrayBuffer(4))))
  const rule = ruleOf({ limit: 1, window: 60 })
  const answers = Array.from({ length: 100 }, (_, i) => taken(store.meter(rule, `company:${i}`), 1, START))
  assert.ok(counters.overflows > 0)
  assert.ok(answers.every(answer => answer >= 0))
})
