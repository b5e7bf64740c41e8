import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { exchangeOf } from '../../test/support/exchange.ts'
import { faultyWire } from '../../test/support/faulty-wire.ts'
import { passing, TestWorker, take } from '../../test/support/limit-worker.ts'
import { needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { reply } from '../exchange.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import { Gate, Terms } from './gate.ts'
import type { Meter } from './meter.ts'

const skip = await needsRedis()

const DAY = { limit: 1_000, window: 'day' } as const

describe('limits in Redis', { skip }, () => {
  let redis: RedisServer
  let workers: TestWorker[]
  let client: Redis

  const worker = async (memory?: SharedCounters, timeout?: number): Promise<TestWorker> => {
    const made = new TestWorker(redis.url, { ...(memory && { memory }), ...(timeout && { timeout }) })
    workers.push(made)
    await until('Redis is up', () => made.store.up)
    return made
  }
  /** Two processes that know of each other. */
  const two = async (timeout?: number): Promise<[TestWorker, TestWorker]> => {
    const both: [TestWorker, TestWorker] = [
      await worker(undefined, timeout),
      await worker(undefined, timeout),
    ]
    await until('they know of each other', () => both.every(({ store }) => store.gateways === 2))
    return both
  }
  const away = (...all: TestWorker[]) => until('Redis is away', () => all.every(({ store }) => !store.up))
  const back = (...all: TestWorker[]) => until('Redis is back', () => all.every(({ store }) => store.up))

  const usedToday = async (): Promise<number> => {
    const keys = (await client.keys('nyro:quota*}')).toSorted()
    const [base, since] = await client.hmget(keys[0]!, 'base', 'since')
    return Number(base) + Number(since)
  }
  const counts = (used: number) =>
    until(`Redis counts ${used}`, async () => {
      const seen = await usedToday()
      if (seen !== used) throw new Error(`it counts ${seen}`)
      return true
    })

  beforeEach(async () => {
    redis = await startRedis()
    client = new Redis(redis.port, '127.0.0.1')
    client.on('error', () => {})
    workers = []
  })
  afterEach(async () => {
    for (const { store } of workers) store.close()
    client.disconnect()
    await redis.stop()
  })

  for (const [name, rule] of [
    ['a rate', { limit: 20, window: 60 }],
    ['a quota', { limit: 20, window: 'day' }],
    ['slots', { concurrent: 20 }],
  ] as const) {
    test(`of 60 at once, ${name} of 20 lets 20 pass, over two gateways`, async () => {
      const meters = [await worker(), await worker()].map(each => each.meter(rule))
      assert.equal(await passing(meters, 60), 20)
      assert.equal(await passing(meters, 10), 0)
    })
  }

  test('a hot key is leased: its requests neither wait nor ask', async () => {
    const one = await worker()
    const meter = one.meter({ limit: 100_000, window: 1 })
    const day = one.meter({ name: 'day', limit: 10_000_000, window: 'day' })
    let now = 0
    let waited = 0
    const end = Date.now() + 500
    for (let count = 0; Date.now() < end; count++) {
      for (const each of [meter, day]) {
        const taken = each.take(1, Date.now())
        if (typeof taken === 'number') now++
        else {
          waited++
          await taken
        }
      }
      if (count % 10 === 0) await delay(1)
    }
    assert.ok(now > waited * 5, `${now} at once, ${waited} waited`)
    assert.ok(one.counted('calls') < now / 5, `${one.counted('calls')} calls for ${now}`)
  })

  test('a lease serves all workers of a process', async () => {
    const first = await worker()
    const second = await worker(first.memory)
    const [a, b] = [first.meter(DAY), second.meter(DAY)]
    await take(a)
    // Given back while it is hot, it is at hand for whoever comes
    const lease = first.memory.key(
      `lease|quota|rule|quota requests|company:acme|${new Date().toISOString().slice(0, 10)}`,
    )
    first.memory.add(lease, 1, Date.now() + 1_000, Date.now())
    assert.equal(typeof b.take(1, Date.now()), 'number')
    assert.equal(second.counted('waits'), 0)
  })

  test('several rules without a lease cost a request one answer of Redis', async () => {
    const wire = await faultyWire(redis.port)
    const one = new TestWorker(`redis://127.0.0.1:${wire.port}`, { timeout: 3 })
    workers.push(one)
    try {
      await until('Redis is up', () => one.store.up)
      const rules = [{ limit: 20, window: 60 }, { limit: 20, window: 'day' }, { concurrent: 20 }] as const
      const events = { onViolated() {}, refuse: () => reply(429, []) }
      const gateOf = (meters: Meter[]): Gate =>
        new Gate(
          new Terms(
            meters.map(({ rule }) => rule),
            events,
          ),
          meters,
        )
      const timed = async (gate: Gate): Promise<number> => {
        const begun = performance.now()
        assert.equal((await gate.pass(exchangeOf(), () => reply(200, []))).status, 200)
        return performance.now() - begun
      }
      wire.delay = 300
      const [three, control] = await Promise.all([
        timed(gateOf(rules.map(rule => one.meter(rule)))),
        timed(gateOf([one.meter({ ...rules[0], name: 'control' })])),
      ])
      assert.ok(control >= 600, `the control took ${control} ms`)
      assert.ok(three < control + 400, `${three} ms, the control ${control} ms`)
      assert.equal(one.counted('local'), 0)
    } finally {
      wire.delay = 0
      one.store.close()
      await wire.close()
    }
  })

  test('who has waited for other limits already does not wait for longer than Redis may take, in all', async () => {
    const wire = await faultyWire(redis.port)
    const one = new TestWorker(`redis://127.0.0.1:${wire.port}`, { timeout: 3 })
    workers.push(one)
    try {
      await until('Redis is up', () => one.store.up)
      wire.delay = 500
      for (const rule of [{ limit: 20, window: 60 }, { concurrent: 20 }]) {
        const meter = one.meter(rule)
        const decided: string[] = []
        const now = Date.now()
        const patient = Promise.resolve(meter.take(1, now)).then(() => decided.push('by Redis'))
        // The first behind a call that is under way, the other in front of one of its own
        const hurried = [meter, one.meter({ ...rule, name: 'other' })].map(each =>
          Promise.resolve(each.take(1, now, 2_900)).then(() => decided.push('here')),
        )
        await Promise.all([patient, ...hurried])
        assert.deepEqual(decided, ['here', 'here', 'by Redis'])
      }
      assert.equal(one.counted('local'), 4)
    } finally {
      wire.delay = 0
      one.store.close()
      await wire.close()
    }
  })

  test('what is leased and not used goes back', async () => {
    const one = await worker()
    const meter = one.meter({ limit: 1_000_000, window: 'day' })
    let used = 0
    for (const end = Date.now() + 300; Date.now() < end; used += 5) {
      await Promise.all(Array.from({ length: 5 }, () => take(meter)))
      await delay(1)
    }
    await counts(used)
  })

  for (const [name, before, after] of [
    ['a rate', { limit: 2, window: 1 }, { limit: 50, window: 60 }],
    ['a quota', { limit: 2, window: 'day' }, { limit: 50, window: 'day' }],
    ['slots', { concurrent: 2 }, { concurrent: 50 }],
  ] as const) {
    test(`each request is held against the rule of its own plan: ${name}`, async () => {
      const one = await worker()
      const meters = [before, after].map(rule => one.meter(rule)) as [Meter, Meter]
      assert.equal(await passing([meters[0]], 10), 2)
      const passed = await passing([meters[1]], 70)
      assert.ok(passed >= 48 && passed <= 50, `${passed} passed`)
      assert.equal(await passing([meters[0]], 1), 0)
    })
  }

  test('a flood beyond the limit asks seldom', async () => {
    const one = await worker()
    const meter = one.meter({ limit: 10, window: 10 })
    assert.equal(await passing([meter], 20), 10)
    const before = one.counted('calls')
    for (let count = 0; count < 1_000; count++) assert.ok((await take(meter)) < 0)
    assert.ok(one.counted('calls') - before <= 5, `${one.counted('calls') - before} calls`)
  })

  test('says what is left over all gateways', async () => {
    const [a, b] = [await worker(), await worker()]
    const quota = [a.meter(DAY), b.meter(DAY)]
    for (let count = 0; count < 4; count++) await take(quota[count % 2]!)
    assert.equal(await take(quota[0]!), 5)
    const rate = { name: 'rate', limit: 10, window: 100 }
    const rates = [a.meter(rate), b.meter(rate)]
    await take(rates[0]!)
    const level = await take(rates[1]!)
    assert.ok(level > 19_000 && level <= 20_000, `${level} ms`)
  })

  test('what is known afterwards holds for all gateways', async () => {
    const [a, b] = [await worker(), await worker()]
    const rule = { limit: 1_000, window: 'day', unit: 'bytesOut' } as const
    const [here, there] = [a.meter(rule), b.meter(rule)]
    assert.equal(await take(here, 0), 0)
    here.charge(1_500, Date.now())
    await counts(1_500)
    assert.ok((await take(there, 0)) < 0)
    here.giveBack(600, Date.now())
    await counts(900)
    await until('others hear of it', async () => (await take(there, 0)) >= 0)
  })

  test('fractions count as what they are', async () => {
    const one = await worker()
    const meter = one.meter({ ...DAY, unit: 'cost' })
    for (let count = 0; count < 10; count++) assert.ok((await take(meter, 0.25)) >= 0)
    await counts(2.5)
  })

  describe('when Redis is away', () => {
    test('the share of the process decides, without waiting', async () => {
      const [a, b] = await two(0.05)
      const meters = [a.meter({ limit: 20, window: 3_600 }), b.meter({ limit: 20, window: 3_600 })]
      redis.pause()
      assert.equal(await passing(meters, 60), 20)
      await away(a, b)
      for (const meter of meters) assert.equal(typeof meter.take(1, Date.now()), 'number')
      assert.ok(a.counted('local') >= 10)
      assert.deepEqual(a.told, ['down'])
      redis.resume()
      await until('it is told', () => a.told.length === 2)
      assert.deepEqual(a.told, ['down', 'up'])
      // What was used counts for both
      for (const meter of meters) {
        await until('the debt is known', async () => (await take(meter)) < -150_000)
      }
    })

    test('there is no burst for what was used before', async () => {
      const [a, b] = await two(0.05)
      const meters = [a.meter({ limit: 20, window: 3_600 }), b.meter({ limit: 20, window: 3_600 })]
      assert.equal(await passing(meters, 60), 20)
      redis.pause()
      await delay(20)
      const passed = await passing(meters, 60)
      // A process that got less than its half before has the rest of that
      assert.ok(passed <= 10, `${passed} more`)
      redis.resume()
    })

    test('a quota goes on from what was known, and each of it counts once', async () => {
      const [a, b] = await two(0.05)
      const meters = [a.meter(DAY), b.meter(DAY)]
      let used = await passing(meters, 100)
      assert.equal(used, 100)
      for (let round = 0; round < 3; round++) {
        redis.pause()
        // The first are on their way when it stops, and nobody hears what became of them
        used += await passing(meters, 50)
        await away(a, b)
        used += await passing(meters, 50)
        redis.resume()
        await back(a, b)
        used += await passing(meters, 20)
      }
      assert.equal(used, 460)
      await counts(used)
    })

    test('a quota lets no more pass than what is left, in equal shares', async () => {
      // Where a machine that is busy with other things must not look like a Redis that is away
      const [a, b] = await two(0.5)
      const rule = { limit: 100, window: 'day' } as const
      const meters = [a.meter(rule), b.meter(rule)]
      // Both hear of all that is used
      assert.equal(await passing(meters, 60), 60)
      for (const meter of meters) assert.ok((await take(meter)) > 0)
      await counts(62)
      redis.pause()
      const passed = await passing(meters, 100)
      assert.ok(passed >= 36 && passed <= 40, `${passed}`)
      redis.resume()
      await counts(62 + passed)
    })

    test('a Redis that comes back empty is told what was used', async () => {
      const [a, b] = await two(0.05)
      const meters = [a.meter(DAY), b.meter(DAY)]
      let used = await passing(meters, 100)
      await redis.kill()
      await away(a, b)
      used += await passing(meters, 40)
      redis = await startRedis(redis.port)
      await back(a, b)
      used += await passing(meters, 20)
      await counts(used)
    })

    test('slots that are held stay held, and those beyond come back first', async () => {
      const [a, b] = await two(0.05)
      const meters = [a.meter({ concurrent: 10 }), b.meter({ concurrent: 10 })]
      const [here, there] = meters as [Meter, Meter]
      assert.equal(await passing([here], 10), 10)
      redis.pause()
      assert.equal(await passing([here], 5), 0, 'more than its share')
      assert.equal(await passing([there], 10), 5, 'its share')
      redis.resume()
      await back(a, b)
      for (let count = 0; count < 5; count++) here.giveBack(1, Date.now())
      await delay(100)
      assert.equal(await passing(meters, 10), 0)
      for (let count = 0; count < 3; count++) there.giveBack(1, Date.now())
      await until('they are free', async () => (await take(here)) >= 0)
    })
  })

  test('slots that a process leaves are free at once, and so is what it leased', async () => {
    const [a, b] = await two()
    const slots = { concurrent: 5 }
    const mine = a.meter(slots)
    assert.equal(await passing([mine], 5), 5)
    for (let count = 0; count < 5; count++) mine.giveBack(1, Date.now())
    await a.store.leave()
    assert.equal(await passing([b.meter(slots)], 5), 5)
    assert.deepEqual(await client.zcard('nyro:{gateways}'), 1)
  })

  test('a Redis that refuses the scripts is told of, and asked again later', async () => {
    await client.call('ACL', 'SETUSER', 'default', '-evalsha', '-eval')
    const one = await worker()
    const meter = one.meter({ limit: 20, window: 3_600 })
    assert.equal(await passing([meter], 30), 20)
    assert.match(one.told[0]!, /NOPERM/)
    await client.call('ACL', 'SETUSER', 'default', '+evalsha', '+eval')
    await until('it is asked again', async () => {
      await take(meter)
      return (await client.exists('nyro:rate{rule|rate requests|company:acme}')) === 1
    })
  })
})
