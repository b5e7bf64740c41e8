import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Slots } from './slots.ts'
import { Stream, Streams } from './streams.ts'

/** A thread's streams at an upstream of 20 slots, and a clock of the test's own. */
class Place {
  readonly slots: Slots
  readonly streams: Streams
  readonly charged = new Map<string, number>()
  now = 0

  constructor({ lends = true, worker = 0, slots = Slots.create(1), limit = 20 } = {}) {
    this.slots = slots
    slots.limit = limit
    const charge = (company: string, _: number, held: number): void => {
      this.charged.set(company, (this.charged.get(company) ?? 0) + held)
    }
    this.streams = new Streams({ slots, worker, most: () => 100, charge }, lends)
  }

  /** Those of a company, and what has moved in them. */
  open(company: string, count: number) {
    return Array.from({ length: count }, () => {
      const moving = { bytesSent: 0, bytesReceived: 0, body: null }
      const stream = new Stream(company, 1, moving, this.now)
      this.streams.add(stream, this.now)
      return { stream, moving }
    })
  }

  /** Seconds go by, in which so many bytes move in each. */
  pass(seconds: number, all: readonly { moving: { bytesSent: number } }[] = [], bytes = 1_000): void {
    for (let second = 0; second < seconds; second++) {
      this.now += 1_000
      for (const { moving } of all) moving.bytesSent += bytes
      this.streams.look(this.now)
    }
  }
}

describe('streams that hold slots', () => {
  test('lend them while they are at rest, to everybody', () => {
    const place = new Place()
    const [first] = place.open('acme', 3)
    place.pass(9)
    assert.equal(place.slots.lent, 0)
    place.pass(1)
    assert.deepEqual([place.slots.resting, place.slots.over], [3, 0])
    assert.equal(place.streams.lentTo('acme'), 3)
    place.pass(1, [first!])
    assert.equal(place.slots.lent, 2)
    place.pass(10)
    assert.equal(place.slots.lent, 3)
  })

  test('are at rest when nothing comes but a heartbeat now and then', () => {
    const place = new Place()
    const all = place.open('acme', 1)
    for (let beats = 0; beats < 5; beats++) {
      place.pass(1, all, 12)
      place.pass(14)
      assert.equal(place.slots.lent, 1)
    }
  })

  test('work when bytes come from the client, in a body or in a WebSocket', () => {
    const place = new Place()
    const body = { bytesSent: 0, bytesReceived: 0, body: { received: 0, completedAt: 0 } }
    const socket = { bytesSent: 0, bytesReceived: 0, body: null }
    for (const moving of [body, socket]) place.streams.add(new Stream('acme', 1, moving, 0), 0)
    for (let second = 0; second < 20; second++) {
      body.body.received += 500
      socket.bytesReceived += 500
      place.pass(1)
    }
    assert.equal(place.slots.lent, 0)
  })

  test('are requests as well that take long, at rest only while a body comes', () => {
    const place = new Place()
    const requests = Array.from({ length: 8 }, (_, index) => {
      const body = index === 0 ? null : { received: 0, completedAt: 0 }
      const moving = { bytesSent: 0, bytesReceived: 0, body }
      place.streams.add(new Stream('acme', 1, moving, 0, 'request'), 0)
      return moving
    })
    const pass = (): void => {
      for (const { body } of requests.slice(0, 6)) if (body?.completedAt === 0) body.received += 500
      place.pass(1)
    }
    assert.equal(place.slots.lent, 0)
    pass()
    assert.deepEqual([place.slots.resting, place.slots.over], [0, 3])
    for (const { body } of requests.slice(1, 3)) body!.completedAt = 1
    // The upstream works for the first three now, without a byte; of the last two nothing comes any more
    for (let second = 0; second < 20; second++) pass()
    assert.deepEqual([place.slots.resting, place.slots.over], [2, 1])
  })

  test('lend what a company has beyond its part of the limit, to the others', () => {
    const place = new Place()
    const all = place.open('acme', 15)
    place.open('globex', 2)
    // A quarter of 20 is its own
    assert.deepEqual([place.slots.resting, place.slots.over], [0, 10])
    assert.equal(place.streams.lentTo('acme'), 0)
    assert.equal(place.streams.lentTo('globex'), 10)
    assert.equal(place.streams.lentTo('initech'), 10)
    place.slots.limit = 40
    place.pass(1, all)
    assert.equal(place.slots.over, 5)
    for (const { stream } of all.slice(0, 5)) place.streams.remove(stream)
    assert.equal(place.slots.over, 0)
    assert.equal(place.streams.lentTo('acme'), 0)
  })

  test('lend nothing more to a company that has half of all there may be at rest', () => {
    const place = new Place()
    place.open('acme', 51)
    place.open('globex', 1)
    place.pass(10)
    assert.equal(place.streams.lentTo('acme'), 0)
    assert.equal(place.streams.lentTo('globex'), 52)
  })

  test('are paid for while others wait, but for what is lent', () => {
    const place = new Place()
    const all = [...place.open('acme', 15), ...place.open('globex', 2)]
    place.pass(3, all)
    assert.equal(place.charged.size, 0)
    place.slots.count(0, 1)
    place.pass(2, all)
    assert.deepEqual(
      [...place.charged],
      [
        ['acme', 10_000],
        ['globex', 4_000],
      ],
    )
    place.pass(20)
    place.charged.clear()
    place.pass(1)
    assert.equal(place.charged.size, 0, 'at rest')
  })

  test('hold them where that is asked for, and pay for all of them', () => {
    const place = new Place({ lends: false })
    place.open('acme', 15)
    place.slots.count(0, 1)
    place.pass(20)
    assert.equal(place.slots.lent, 0)
    assert.equal(place.charged.get('acme'), 300_000)
  })

  test('of two threads lend together, and no more when one is gone', () => {
    const slots = Slots.create(2)
    const one = new Place({ slots })
    const other = new Place({ slots, worker: 1 })
    one.open('acme', 5)
    other.open('acme', 4)
    // A quarter of 20, half of it in each
    assert.equal(slots.over, 5)
    slots.clear(1, 0)
    assert.equal(slots.over, 3)
  })

  test('lend just what they are, whatever comes and goes', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('open' as const), company: fc.integer({ min: 0, max: 3 }) }),
      fc.record({ kind: fc.constant('close' as const), which: fc.nat() }),
      fc.record({
        kind: fc.constant('pass' as const),
        seconds: fc.integer({ min: 1, max: 6 }),
        busy: fc.nat(9),
      }),
      fc.record({ kind: fc.constant('limit' as const), limit: fc.integer({ min: 1, max: 40 }) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const place = new Place()
        const open: ReturnType<Place['open']> = []
        let part = 5
        for (const each of steps) {
          if (each.kind === 'open') {
            if (open.length === 0) part = Math.max(1, Math.floor(place.slots.limit / 4))
            open.push(...place.open(`company ${each.company}`, 1))
          } else if (each.kind === 'close') {
            const [gone] = open.splice(each.which % Math.max(1, open.length), 1)
            if (gone !== undefined) place.streams.remove(gone.stream)
          } else if (each.kind === 'pass') {
            place.pass(each.seconds, open.slice(0, each.busy))
            part = Math.max(1, Math.floor(place.slots.limit / 4))
          } else place.slots.limit = each.limit
          const working = new Map<string, number>()
          for (const { stream } of open.filter(({ stream }) => !stream.atRest))
            working.set(stream.company, (working.get(stream.company) ?? 0) + 1)
          const over = [...working.values()].reduce((sum, count) => sum + Math.max(0, count - part), 0)
          assert.equal(place.slots.resting, open.filter(({ stream }) => stream.atRest).length)
          assert.equal(place.slots.over, over)
          assert.equal(place.streams.count, open.length)
        }
      }),
    )
  })
})
