import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { Redis } from 'ioredis'
import { needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { type ScriptClient, withScripts } from './redis-scripts.ts'

const skip = await needsRedis()

describe('the scripts in a real Redis', { skip }, () => {
  let redis: RedisServer
  let client: Redis
  let scripts: ScriptClient
  let names = 0

  before(async () => {
    redis = await startRedis()
    client = new Redis(redis.port, '127.0.0.1')
    scripts = withScripts(client)
  })
  after(async () => {
    client.disconnect()
    await redis.stop()
  })

  /** What a writer was told last. */
  interface Told {
    readonly arrival: string
    readonly idle: string
  }

  const fresh = (): string => `k{${names++}}`

  interface RateCall {
    want: number
    least?: number
    owed?: number
    age?: number
    told?: Told
    number?: number
    life?: number
    writer?: string
  }

  /** In milliseconds, at moments of the test's own. */
  async function rate(key: string, { interval, depth }: Rate, at: number, call: RateCall) {
    const { want, least = 1, owed = 0, age = 0, number = 1, life = 0, writer = 'w' } = call
    const { arrival, idle } = call.told ?? { arrival: '0', idle: '-1' }
    const amounts = [interval * 1000, depth * 1000, want, least, owed, age * 1000]
    const given = [...amounts, number, life, arrival, idle, at * 1000]
    const answer = (await scripts.limitRate(key, `${key}:${writer}`, ...given)) as [number, ...string[]]
    return {
      granted: answer[0],
      ahead: Number(answer[1]) / 1000,
      told: { arrival: answer[2]!, idle: answer[3]! },
    }
  }

  const START = 1_800_000_000_000

  describe('a rate', () => {
    test('grants what exact arithmetic grants, whatever is wanted and whenever', async () => {
      const call = fc.record({
        after: fc.integer({ min: 0, max: 5_000 }),
        want: fc.integer({ min: 0, max: 12 }),
      })
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 2_000 }),
          fc.integer({ min: 1, max: 40 }),
          fc.array(call, { minLength: 1, maxLength: 30 }),
          async (interval, burst, calls) => {
            const key = fresh()
            // In thousandths of a millisecond, as integers of any size
            let arrival = 0n
            let at = START
            for (const { after, want } of calls) {
              at += after
              const now = BigInt(at) * 1000n
              const step = BigInt(interval) * 1000n
              const from = arrival > now ? arrival : now
              const room = (now + step * BigInt(burst) - from) / step
              const granted = BigInt(want) < room ? BigInt(want) : room
              if (granted > 0n) arrival = from + granted * step
              const answer = await rate(key, { interval, depth: interval * burst }, at, { want, least: 0 })
              assert.equal(answer.granted, Number(granted))
              const ahead = granted > 0n || arrival > now ? Number(arrival - now) / 1000 : 0
              assert.ok(Math.abs(answer.ahead - Math.max(0, ahead)) < 0.01, `${answer.ahead} is not ${ahead}`)
            }
          },
        ),
        { numRuns: 60 },
      )
    })

    describe('whose plan changes', () => {
      const slow = { interval: 36_000, depth: 3_600_000 }
      const fast = { interval: 100, depth: 10_000 }

      test('to a faster one owes as many units as before, and not the time of the slower one', async () => {
        const key = fresh()
        await rate(key, slow, START, { want: 0, owed: 1_000 })
        assert.equal((await rate(key, slow, START, { want: 1 })).ahead, 36_000_000)
        assert.deepEqual((await rate(key, fast, START, { want: 1 })).ahead, 100_000)
        assert.equal((await rate(key, fast, START + 90_000, { want: 1 })).granted, 0)
        assert.equal((await rate(key, fast, START + 90_200, { want: 1 })).granted, 1)
      })

      test('to a slower one owes the time of the faster one, which going to and fro does not lessen', async () => {
        const key = fresh()
        await rate(key, fast, START, { want: 0, owed: 1_000 })
        for (let count = 0; count < 3; count++) {
          await rate(key, slow, START, { want: 0, owed: 0.01 })
          await rate(key, fast, START, { want: 0, owed: 1_000 })
        }
        const { ahead } = await rate(key, fast, START, { want: 1 })
        assert.ok(ahead >= 400_000, `${ahead}`)
        // Once nothing is owed, it begins anew
        assert.equal((await rate(key, slow, START + 500_000_000, { want: 2 })).ahead, 72_000)
        assert.equal((await rate(key, fast, START + 500_000_000, { want: 0, least: 0 })).ahead, 200)
      })
    })

    test('grants nothing rather than less than the least', async () => {
      const key = fresh()
      assert.equal((await rate(key, HUNDRED, START, { want: 9, least: 9 })).granted, 9)
      const refused = await rate(key, HUNDRED, START, { want: 4, least: 2 })
      assert.deepEqual([refused.granted, refused.ahead], [0, 90])
      assert.equal((await rate(key, HUNDRED, START, { want: 4, least: 1 })).granted, 1)
    })

    test('loses nothing to rounding at 300,000 in a second', async () => {
      const key = fresh()
      const fast = { interval: 1 / 300, depth: 100 / 300 }
      let granted = 0
      for (let at = START; at < START + 500; at += 0.25) {
        granted += (await rate(key, fast, at, { want: 200, least: 0 })).granted
      }
      assert.ok(Math.abs(granted - 150_100) < 300, `${granted} of 150,100`)
    })

    test('what was used while it was away is paid for, and gains no burst', async () => {
      const key = fresh()
      await rate(key, HUNDRED, START, { want: 10 })
      // 200 of 100/s in a second: a second is owed beyond now
      const paid = await rate(key, HUNDRED, START + 1_000, { want: 10, owed: 200, age: 1_000 })
      assert.equal(paid.granted, 0)
      assert.ok(Math.abs(paid.ahead - 1_100) < 0.01, `${paid.ahead} ms`)
    })

    test('it makes no difference which of two that used half of it each comes back first', async () => {
      for (const lost of [false, true]) {
        const key = fresh()
        const { told } = await rate(key, HUNDRED, START, { want: 10 })
        if (lost) await client.del(key)
        const back = START + 2_000
        const asked = { want: 0, least: 0, owed: 100, told }
        const { told: later } = await rate(key, HUNDRED, back, { ...asked, age: 2_000 })
        // The first one goes on at once, as if the other had used nothing
        const first = await rate(key, HUNDRED, back + 10, { want: 5, told: later })
        assert.equal(first.granted, 5)
        const second = await rate(key, HUNDRED, back + 20, { ...asked, age: 2_020, writer: 'b' })
        // 10 of the burst, 200 and 5 used in 2,020 ms
        assert.ok(Math.abs(second.ahead - 130) < 0.01, `${second.ahead} ms`)
      }
    })

    test('nor how often the first one came and went meanwhile', async () => {
      const key = fresh()
      const { told } = await rate(key, HUNDRED, START, { want: 10 })
      const asked = { want: 0, least: 0 }
      const first = await rate(key, HUNDRED, START + 2_000, { ...asked, owed: 100, age: 2_000, told })
      await rate(key, HUNDRED, START + 2_050, { ...asked, owed: 5, age: 50, told: first.told })
      // 165 used in 2,060 ms, of which 55 in the last 60 at most: less than a burst is owed
      const late = { ...asked, owed: 50, age: 2_060, told, writer: 'b' }
      const second = await rate(key, HUNDRED, START + 2_060, late)
      assert.ok(second.ahead <= 0.01, `${second.ahead} ms`)
      // What idled away is used up only once: nothing is left of it but 410 ms
      const third = await rate(key, HUNDRED, START + 2_060, { ...late, owed: 100, writer: 'c' })
      assert.ok(Math.abs(third.ahead - 590) < 0.01, `${third.ahead} ms`)
    })

    test('what is paid late uses up only the time that idled away since', async () => {
      const key = fresh()
      // Idle for long, then busy for a second
      await rate(key, HUNDRED, START - 100_000, { want: 1 })
      const { told } = await rate(key, HUNDRED, START, { want: 10 })
      for (let at = START; at <= START + 1_000; at += 10) await rate(key, HUNDRED, at, { want: 1 })
      const late = await rate(key, HUNDRED, START + 1_000, { want: 0, least: 0, owed: 50, age: 1_000, told })
      assert.ok(Math.abs(late.ahead - 600) < 0.01, `${late.ahead} ms`)
      const unknown = await rate(key, HUNDRED, START + 1_000, { want: 0, least: 0, owed: 10, age: 1_000 })
      assert.ok(Math.abs(unknown.ahead - 700) < 0.01, `${unknown.ahead} ms`)
    })

    test('a batch that is sent again counts once, and says what it was granted', async () => {
      const key = fresh()
      const batch = { want: 3, owed: 2, number: 7, life: 60_000 }
      assert.equal((await rate(key, HUNDRED, START, batch)).granted, 3)
      const again = await rate(key, HUNDRED, START, { ...batch, want: 0, least: 0 })
      assert.deepEqual([again.granted, again.ahead], [3, 50])
      const late = await rate(key, HUNDRED, START, { ...batch, number: 6 })
      assert.deepEqual([late.granted, late.ahead], [0, 50], 'one that comes late is too late')
      const other = await rate(key, HUNDRED, START, { ...batch, writer: 'x' })
      assert.equal(other.ahead, 100, 'writers have numbers of their own')
    })

    test('a Redis that forgot it learns it from whoever was told', async () => {
      const key = fresh()
      const { told } = await rate(key, HUNDRED, START, { want: 10 })
      await client.del(key)
      assert.equal((await rate(key, HUNDRED, START + 20, { want: 10, told })).granted, 2)
    })

    test('is forgotten when it says nothing any more', async () => {
      const key = fresh()
      await rate(key, HUNDRED, START, { want: 10 })
      const life = await client.pttl(key)
      assert.ok(life > 4_000 && life <= 5_100, `${life} ms`)
    })
  })

  interface QuotaCall {
    want: number
    least?: number
    owed?: number
    known?: string | number
    id?: string
    number: number
    writer?: string
    most?: number
  }

  async function quota(key: string, call: QuotaCall) {
    const { want, least = 1, owed = 0, known = 0, id = '', number, writer = 'w', most = 100 } = call
    const end = Date.now() + 60_000
    const given = [most, want, least, owed, known, id, number, 60_000, end]
    const answer = (await scripts.limitQuota(key, `${key}:${writer}`, ...given)) as [number, string, string]
    return { granted: answer[0], used: answer[1], id: answer[2] }
  }

  describe('a quota', () => {
    test('counts what is granted, owed and given back, each batch once, in whatever order it comes', async () => {
      const batch = fc.record({
        want: fc.integer({ min: 0, max: 30 }),
        owed: fc.integer({ min: 0, max: 20 }),
        copies: fc.integer({ min: 1, max: 3 }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 15 }), async batches => {
          const key = fresh()
          let used = 0
          for (const [number, { want, owed, copies }] of batches.entries()) {
            used += owed
            const granted = Math.max(0, Math.min(want, 100 - used))
            used += granted
            for (let copy = 0; copy < copies; copy++) {
              const answer = await quota(key, { want, least: 0, owed, number: number + 1 })
              assert.deepEqual([answer.granted, answer.used], [granted, String(used)])
            }
            await quota(key, { want, least: 0, owed, number })
          }
        }),
        { numRuns: 40 },
      )
    })

    test('keeps fractions and numbers beyond 14 digits', async () => {
      const key = fresh()
      const most = 2 ** 53
      await quota(key, { want: 0, least: 0, owed: 2 ** 52 + 1, number: 1, most })
      const { used } = await quota(key, { want: 0, least: 0, owed: 1, number: 2, most })
      assert.equal(used, String(2 ** 52 + 2))
      const other = fresh()
      await quota(other, { want: 0, least: 0, owed: 0.25, number: 1 })
      assert.equal((await quota(other, { want: 1, number: 2 })).used, '1.25')
    })

    test('a Redis that lost it counts on from what those who ask know', async () => {
      const key = fresh()
      const first = await quota(key, { want: 40, number: 1, writer: 'a' })
      const second = await quota(key, { want: 20, number: 1, writer: 'b' })
      await client.del(key)
      // The one who knows less comes first, and goes on
      const again = await quota(key, { want: 5, known: first.used, id: first.id, number: 2, writer: 'a' })
      assert.equal(again.used, '45')
      const all = await quota(key, { want: 5, known: second.used, id: second.id, number: 2, writer: 'b' })
      assert.equal(all.used, '70')
      const told = await quota(key, {
        want: 0,
        least: 0,
        known: all.used,
        id: all.id,
        number: 3,
        writer: 'b',
      })
      assert.equal(told.used, '70', 'and what it was told since is not added')
    })

    test('ends with its window', async () => {
      const key = fresh()
      await quota(key, { want: 1, number: 1 })
      const life = await client.pttl(key)
      assert.ok(life > 50_000 && life <= 60_000)
    })
  })

  async function slots(
    key: string,
    holder: string,
    want: number,
    used: number,
    number: number,
    life = 60_000,
  ) {
    return (await scripts.limitSlots(key, holder, 10, want, used, number, life)) as [number, number]
  }

  describe('slots', () => {
    test('are never more than there are, over all holders', async () => {
      const call = fc.record({
        holder: fc.constantFrom('a', 'b', 'c'),
        want: fc.integer({ min: 0, max: 12 }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(call, { minLength: 1, maxLength: 20 }), async calls => {
          const key = fresh()
          const held = new Map<string, number>()
          for (const [number, { holder, want }] of calls.entries()) {
            held.delete(holder)
            const others = [...held.values()].reduce((sum, each) => sum + each, 0)
            const [granted, total] = await slots(key, holder, want, 0, number)
            assert.equal(granted, Math.min(want, 10 - others))
            assert.equal(total, others + granted)
            held.set(holder, granted)
          }
        }),
        { numRuns: 40 },
      )
    })

    test('of a holder that says nothing any more are free', async () => {
      const key = fresh()
      assert.deepEqual(await slots(key, 'a', 8, 8, 1, 50), [8, 8])
      assert.deepEqual(await slots(key, 'b', 8, 0, 1), [2, 10])
      await new Promise(resolve => setTimeout(resolve, 60))
      assert.deepEqual(await slots(key, 'b', 8, 2, 2), [8, 8])
    })

    test('that are in use count even beyond the limit, and what comes late does not', async () => {
      const key = fresh()
      await slots(key, 'a', 8, 8, 5)
      assert.deepEqual(await slots(key, 'b', 6, 6, 1), [6, 14])
      assert.deepEqual(await slots(key, 'a', 1, 1, 4), [8, 14])
    })
  })

  test('gateways count while they say so', async () => {
    const key = fresh()
    assert.equal(await scripts.limitGateways(key, 'a', 60_000), 1)
    assert.equal(await scripts.limitGateways(key, 'b', 60_000), 2)
    assert.equal(await scripts.limitGateways(key, 'a', 60_000), 2)
    assert.equal(await scripts.limitGateways(key, 'b', 0), 1)
  })

  test('are known again after Redis has forgotten them', async () => {
    await client.script('FLUSH')
    assert.equal((await rate(fresh(), HUNDRED, START, { want: 1 })).granted, 1)
  })
})

interface Rate {
  readonly interval: number
  readonly depth: number
}

/** 100 in a second, 10 of them at once. */
const HUNDRED: Rate = { interval: 10, depth: 100 }
