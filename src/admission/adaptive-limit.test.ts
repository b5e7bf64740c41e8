import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  randomOf,
  SERVICE_TIMES,
  type ServiceTime,
  SimulatedUpstream,
  Simulation,
} from '../../test/support/simulated-upstream.ts'
import { AdaptiveLimit, LIMIT_FIELDS, type LimitBounds } from './adaptive-limit.ts'

/** More requests than the upstream can take, always: it has as many as the limit allows. */
class Flood {
  readonly limit: AdaptiveLimit
  readonly upstream: SimulatedUpstream
  readonly simulation = new Simulation()
  #inUse = 0

  constructor(slots: number, serviceTime: ServiceTime, bounds: LimitBounds = { min: 2, max: 1000 }) {
    this.limit = new AdaptiveLimit(bounds)
    this.upstream = new SimulatedUpstream(this.simulation, slots, serviceTime)
  }

  /** Runs on for so many seconds: the mean of the limit, and the part of the upstream's slots that worked. */
  run(seconds: number): { limit: number; busy: number } {
    const { upstream } = this
    const before = upstream.busy
    let sum = 0
    for (let tick = 0; tick < seconds * 10; tick++) {
      this.#fill()
      this.simulation.runUntil(this.simulation.now + 100)
      sum += this.limit.limit
    }
    const busy = (upstream.busy - before) / (upstream.slots * seconds * 1000)
    return { limit: sum / (seconds * 10), busy }
  }

  #fill(): void {
    while (this.#inUse < this.limit.limit) {
      const sentAt = this.simulation.now
      const inUse = ++this.#inUse
      this.upstream.request(() => {
        this.#inUse--
        const { now } = this.simulation
        this.limit.observe(now - sentAt, inUse, now)
        this.#fill()
      })
    }
  }
}

function assertWithin(value: number, expected: number, tolerance: number, what = 'limit'): void {
  assert.ok(Math.abs(value - expected) <= expected * tolerance, `${what} ${value}, expected ${expected}`)
}

const SHAPES = Object.entries(SERVICE_TIMES)

describe('the limit at an upstream that is given all it can take', () => {
  for (const [name, shape] of SHAPES) {
    for (const [slots, mean] of [
      [40, 200],
      [40, 20],
      [200, 100],
    ] as const) {
      test(`finds ${slots} slots of ${mean} ms, ${name}, and keeps them busy`, () => {
        const flood = new Flood(slots, shape(mean)(randomOf(7)))
        flood.run(30)
        const { limit, busy } = flood.run(60)
        assertWithin(limit, slots, 0.15)
        assert.ok(busy > 0.95, `busy ${busy}`)
      })
    }
  }

  test('finds a few slots too, and does not fall below the least it may be', () => {
    const few = new Flood(4, SERVICE_TIMES.jittered(50)(randomOf(3)))
    few.run(20)
    const { limit, busy } = few.run(60)
    assert.ok(limit >= 3 && limit <= 6, `limit ${limit}`)
    assert.ok(busy > 0.95, `busy ${busy}`)
    const one = new Flood(1, () => 5)
    one.run(20)
    const { limit: least } = one.run(20)
    assert.ok(least >= 2 && least <= 4, `limit ${least}`)
  })

  test('stays within its bounds', () => {
    const bounded = new Flood(40, () => 20, { min: 8, max: 16 })
    bounded.run(20)
    assert.ok(bounded.limit.limit <= 16 && bounded.run(20).limit > 14)
    const floored = new Flood(1, () => 20, { min: 8, max: 16 })
    floored.run(20)
    const { limit } = floored.run(20)
    assert.ok(limit >= 8 && limit <= 12, `limit ${limit}`)
  })
})

describe('the limit at an upstream that changes', () => {
  test('follows the loss of three quarters of its slots, and their return', () => {
    const flood = new Flood(40, SERVICE_TIMES.jittered(100)(randomOf(2)))
    flood.run(40)
    flood.upstream.slots = 10
    flood.run(40)
    assertWithin(flood.run(30).limit, 10, 0.3)
    flood.upstream.slots = 40
    flood.run(30)
    const { limit, busy } = flood.run(30)
    assertWithin(limit, 40, 0.15)
    assert.ok(busy > 0.95, `busy ${busy}`)
  })

  test('does not stay low when each answer takes longer than before, with as many at a time', () => {
    const flood = new Flood(40, () => 100)
    flood.run(40)
    flood.upstream.serviceTime = () => 300
    flood.run(20)
    assertWithin(flood.run(30).limit, 40, 0.15)
    flood.upstream.serviceTime = () => 100
    flood.run(20)
    assertWithin(flood.run(30).limit, 40, 0.15)
  })

  test('is not brought down by jitter and stalls of single answers', () => {
    const random = randomOf(11)
    const flood = new Flood(40, () => (random() < 0.01 ? 3000 : 20 + 60 * random()))
    flood.run(30)
    for (let minute = 0; minute < 5; minute++) assert.ok(flood.run(60).limit > 34)
  })

  for (const [every, lasts] of [
    [3000, 400],
    [5000, 1500],
  ] as const) {
    test(`is not brought down when all of it stands still for ${lasts} ms now and then`, () => {
      const random = randomOf(2)
      const flood = new Flood(40, () => endsAfterStalls(flood.simulation.now, 160 + 80 * random()))
      const stalls: { from: number; to: number }[] = []
      for (let at = 0; at < 400_000; ) {
        const from = at - Math.log(1 - random()) * every
        at = from - Math.log(1 - random()) * lasts
        stalls.push({ from, to: at })
      }
      const endsAfterStalls = (now: number, takes: number): number => {
        const stall = stalls.find(({ from, to }) => from <= now + takes && now + takes < to)
        return stall === undefined ? takes : stall.to - now
      }
      flood.run(30)
      const { limit, busy } = flood.run(270)
      assertWithin(limit, 40, 0.1)
      assert.ok(busy > 0.93, `busy ${busy}`)
    })
  }
})

describe('an upstream that is not given all it can take', () => {
  test('tells nothing of its capacity, so the limit stays', () => {
    const limit = new AdaptiveLimit({ min: 2, max: 1000 })
    const { limit: before } = limit
    for (let at = 0; at < 100_000; at += 10) limit.observe(at % 500, 3, at)
    assert.equal(limit.limit, before)
  })
})

describe('the state of a limit', () => {
  test('can be shared: whoever attaches to it sees the same limit', () => {
    const state = new Float64Array(LIMIT_FIELDS)
    const [a, b] = [
      new AdaptiveLimit({ min: 2, max: 10 }, state),
      new AdaptiveLimit({ min: 2, max: 10 }, state),
    ]
    const before = b.limit
    for (let at = 0; at < 20_000; at += 5) a.observe(5, a.limit, at)
    assert.ok(a.limit > before)
    assert.equal(b.limit, a.limit)
  })

  test('obeys other bounds at once, however long nobody asks', () => {
    const state = new Float64Array(LIMIT_FIELDS)
    const before = new AdaptiveLimit({ min: 2, max: 100 }, state)
    for (let at = 0; at < 20_000; at += 5) before.observe(5, before.limit, at)
    assert.ok(before.limit > 10)
    assert.ok(new AdaptiveLimit({ min: 2, max: 10 }, state).limit <= 10)
    assert.ok(new AdaptiveLimit({ min: 50, max: 100 }, state).limit >= 50)
  })
})
