import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { GatewayOptions as Config } from '../src/config/schema.ts'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { type FaultyWire, faultyWire } from './support/faulty-wire.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type LoadOptions, type LoadResult, pacedLoad, percentile } from './support/paced-load.ts'
import { needsRedis, type RedisServer, startRedis } from './support/redis.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { recordingUpstream } from './support/upstream.ts'

const skip = await needsRedis()

const RATE = 300
const BURST = 30
const AUTHORIZED = { authorization: `Bearer ${token()}` }

type Rule = NonNullable<NonNullable<NonNullable<Config['limits']>['plans']>[string]['rules']>[number]

const configOf = (...rules: Rule[]): Config => ({
  routes: [{ path: '/hello', respond: { body: 'hello' } }],
  limits: { plans: { basic: { rules } }, defaultPlan: 'basic' },
})

/** Where exact numbers are told, a machine that is busy with other things must not look like a Redis that is away. */
const patient = (...rules: Rule[]): Config => ({
  ...configOf(...rules),
  redis: { timeout: '500ms' } as Config['redis'],
})

const RATE_RULE = { name: 'rate', limit: RATE, window: 1, burst: BURST }

describe('two gateways and a Redis', { skip }, () => {
  let redis: RedisServer
  let gateways: GatewayProcess[]
  let wire: FaultyWire | null
  let client: Redis
  let companies = 0
  /** What each gateway had said of Redis before the test. */
  let toldBefore: number[] = []

  async function open(): Promise<void> {
    redis = await startRedis()
    client = new Redis(redis.port, '127.0.0.1')
    client.on('error', () => {})
    gateways = []
    wire = null
  }
  async function close(): Promise<void> {
    client.disconnect()
    await Promise.all(gateways.map(gateway => gateway.stop('SIGKILL')))
    await wire?.close()
    await redis.stop()
  }

  async function start(config: Config, url = redis.url): Promise<void> {
    const env = { GATEWAY_REDIS_URL: url, GATEWAY_ADMIN_PORT: '0' }
    gateways = await Promise.all([startConfigured(config, env), startConfigured(config, env)])
    await until('both are known', async () => (await client.zcard('nyro:{gateways}')) === 2)
  }

  /** They say so every second: each knows then how many share the limit while Redis is away. */
  const heardOfEachOther = (): Promise<void> => delay(1_100)

  const numbers = async (gateway: GatewayProcess) => (await send(`${gateway.adminUrl}/limits`)).json()
  const redisIs = (state: 'up' | 'down') =>
    until(`Redis is ${state}`, async () => {
      const all = await Promise.all(gateways.map(numbers))
      return all.every(({ redis }) => redis === state)
    })

  /** Each by a company of its own, whose rate nobody has used yet. */
  const load = (over: Partial<LoadOptions> = {}): Promise<LoadResult> =>
    pacedLoad({
      ports: gateways.map(({ port }) => port),
      path: '/hello',
      control: '/health',
      headers: bearer(token(claims({ app_metadata: { company_id: `company ${companies++}` } }))),
      rate: 1_000,
      seconds: 10,
      ...over,
    })

  /** Goes on while something happens to Redis, and until what passed around that has been paid for. */
  async function loadDuring(happening: () => Promise<void>): Promise<LoadResult> {
    const end = new AbortController()
    const loaded = load({ seconds: 60, signal: end.signal })
    await delay(1_000)
    await happening()
    await delay(1_500)
    end.abort()
    return loaded
  }

  /**
   * 1 % is what is promised, of what the rate earns and of what an exact limiter lets pass at the moments of the answers:
   * one for all gateways, or one for each with its share where Redis was away for a while. Around that a burst more may
   * pass. A machine that is busy with other things may answer nobody for so long that a bucket is full.
   */
  function holdsTheRate({ statuses, seconds, moments }: LoadResult, away = false): void {
    const passed = statuses.get(200) ?? 0
    const earned = RATE * seconds + BURST
    const together = exactly(moments.flat().sort((a, b) => a - b))
    const apart = moments.map(each => exactly(each, moments.length)).reduce((sum, each) => sum + each)
    const exact = away ? Math.min(together, apart) : together
    const told = `${passed} passed of ${earned.toFixed()}, of which ${together} could, ${apart} by shares`
    const slack = Math.max(RATE * seconds * 0.01, away ? BURST : 0)
    if (process.env.SHOW) console.log(told)
    assert.ok(passed <= earned + slack, told)
    assert.ok(passed >= exact - slack, told)
    assert.ok(exact > earned / 2, told)
    assert.deepEqual([...statuses.keys()].toSorted(), [200, 429])
  }

  /** Of so many gateways, what one lets pass that holds its share of the rate and of the burst. */
  function exactly(moments: readonly number[], gateways = 1): number {
    const interval = (1000 / RATE) * gateways
    const depth = (BURST * 1000) / RATE
    let arrival = 0
    let passed = 0
    for (const now of moments) {
      const next = Math.max(arrival, now) + interval
      if (next > now + depth) continue
      arrival = next
      passed++
    }
    return passed
  }

  /** None waited for Redis, which was slow by seconds: beside requests to the same processes that do not ask it. */
  function keepsTime({ times, controls }: LoadResult): void {
    const shown = (all: readonly number[]): string =>
      [0.5, 0.99, 1].map(part => percentile(all, part).toFixed(1)).join(', ')
    const told = `p50, p99, most: ${shown(times)} ms, without limits ${shown(controls)} ms`
    if (process.env.SHOW) console.log(told)
    assert.ok(percentile(times, 0.5) <= percentile(controls, 0.5) + 50, told)
    assert.ok(percentile(times, 0.99) <= percentile(controls, 0.99) + 500, told)
    assert.ok(times.at(-1)! <= controls.at(-1)! + 1_000, told)
  }

  const toldOf = ({ log }: GatewayProcess): string[] =>
    log.map(({ event }) => String(event)).filter(event => /^Redis/.test(event))

  /**
   * Each says once that Redis was away, and once that it is back. On a machine that is busy with other things an answer may
   * come too late for no other reason: then that is said as well.
   */
  async function toldOnce(rounds = 1): Promise<void> {
    for (const [index, gateway] of gateways.entries()) {
      const told = (): string[] => toldOf(gateway).slice(toldBefore[index])
      await until('it is told', () => told().length >= 2 * rounds && told().length % 2 === 0)
      const both = [
        'Redis is away: this gateway decides alone',
        'Redis is back: what it decides is shared again',
      ]
      const times = told().length / 2
      assert.deepEqual(told(), Array.from({ length: times }, () => both).flat())
      assert.ok(times <= rounds * 3, `${times} times`)
    }
  }

  describe('under a load that is more than the limit', () => {
    let way: FaultyWire

    // The same for all tests: to start them takes as long as what is to be seen
    before(async () => {
      await open()
      way = await faultyWire(redis.port)
      wire = way
      await start(configOf(RATE_RULE), `redis://127.0.0.1:${way.port}`)
      await heardOfEachOther()
    })
    beforeEach(async () => {
      await redisIs('up')
      await until('all is told', () => gateways.every(gateway => toldOf(gateway).length % 2 === 0))
      toldBefore = gateways.map(gateway => toldOf(gateway).length)
    })
    after(close)

    test('of 1,000 in a second for 10 s, a limit of 300 lets 3,000 pass within 1 %', async () => {
      const result = await load()
      // To a machine that is busy with other things Redis may look away for a moment
      const away = gateways.some((gateway, index) => toldOf(gateway).length > toldBefore[index]!)
      holdsTheRate(result, away)
      keepsTime(result)
      const { redis: state, refused, redis_calls } = await numbers(gateways[0]!)
      assert.ok(away || state === 'up')
      assert.ok(refused > 2_000 && redis_calls < 5_000, `${refused} refused, ${redis_calls} calls`)
    })

    test('the same while Redis is paused', async () => {
      const result = await loadDuring(async () => {
        redis.pause()
        await delay(1_500)
        assert.equal((await numbers(gateways[0]!)).redis, 'down')
        redis.resume()
        await redisIs('up')
      })
      holdsTheRate(result, true)
      keepsTime(result)
      await toldOnce()
    })

    test('the same while Redis is killed and started again', async () => {
      const result = await loadDuring(async () => {
        await redis.kill()
        await delay(1_500)
        redis = await startRedis(redis.port)
        await redisIs('up')
      })
      holdsTheRate(result, true)
      keepsTime(result)
      await toldOnce()
    })

    test('the same while its connections are cut in the middle of an answer', async () => {
      const result = await loadDuring(async () => {
        for (let count = 0; count < 3; count++) {
          await way.cutNextAnswer(3)
          await delay(1_000)
        }
      })
      holdsTheRate(result, true)
      keepsTime(result)
    })

    test('one that is slow, answers nonsense or may not be written to is away, and comes back', async () => {
      const faults: [begin: () => unknown, end: () => unknown][] = [
        [() => (way.delay = 2_000), () => (way.delay = 0)],
        [() => (way.instead = '\x00\xff nonsense\r\n'), () => (way.instead = null)],
        [() => client.replicaof('127.0.0.1', 1), () => client.replicaof('NO', 'ONE')],
      ]
      for (const [round, [begin, end]] of faults.entries()) {
        await begin()
        const result = await load({ seconds: 1.5, rate: 400 })
        keepsTime(result)
        assert.deepEqual(
          [...result.statuses.keys()].filter(status => status !== 429),
          [200],
        )
        const passed = result.statuses.get(200)!
        // The burst, and what the rate earns
        assert.ok(passed <= (RATE * result.seconds + 2 * BURST) * 1.01, `${passed} passed`)
        await end()
        await redisIs('up')
        await toldOnce(round + 1)
      }
    })
  })

  describe('asked for more than there is', () => {
    beforeEach(open)
    afterEach(close)

    test('of 60 at once, limits of 20 let 20 pass; a quota is counted also while Redis is away', async () => {
      await start(patient({ name: 'daily', limit: 20, window: 'day' }))
      await heardOfEachOther()
      const answers = await Promise.all(
        Array.from({ length: 60 }, (_, index) =>
          send(`${gateways[index % 2]!.url}/hello`, { headers: AUTHORIZED }),
        ),
      )
      assert.equal(answers.filter(({ status }) => status === 200).length, 20)
      const other = { authorization: `Bearer ${token(claims({ app_metadata: { company_id: 'other' } }))}` }
      const ask = async (count: number): Promise<number> => {
        const some = Array.from({ length: count }, (_, index) =>
          send(`${gateways[index % 2]!.url}/hello`, { headers: other }),
        )
        return (await Promise.all(some)).filter(({ status }) => status === 200).length
      }
      let used = await ask(2)
      redis.pause()
      used += await ask(6)
      await redisIs('down')
      used += await ask(6)
      assert.equal(used, 14)
      redis.resume()
      await until('all of it is counted', async () => {
        const [key] = await client.keys('nyro:quota*company:other*}')
        const [base, since] = await client.hmget(key!, 'base', 'since')
        return Number(base) + Number(since) === used
      })
      await redisIs('up')
      assert.equal(await ask(10), 6)
    })

    test('requests at a time are counted over both, and those of one that is killed are free soon', async () => {
      const upstream = await recordingUpstream(() => {})
      try {
        const config = patient({ name: 'parallel', concurrent: 20 })
        await start({ ...config, routes: [{ path: '/slow', upstream: upstream.url }] })
        const statuses: number[] = []
        const all = Array.from({ length: 60 }, (_, index) =>
          send(`${gateways[index % 2]!.url}/slow`, { headers: AUTHORIZED }).then(
            ({ status }) => void statuses.push(status),
            () => {},
          ),
        )
        await until('40 are refused', () => statuses.length === 40)
        assert.deepEqual(new Set(statuses), new Set([429]))
        await until('20 have passed', () => upstream.requests.length === 20)
        await gateways[0]!.stop('SIGKILL')
        const started = upstream.requests.length
        await until(
          'they are free',
          async () => {
            void send(`${gateways[1]!.url}/slow`, { headers: AUTHORIZED }).catch(() => {})
            return upstream.requests.length > started
          },
          20_000,
        )
        for (const socket of upstream.sockets) socket.destroy()
        await Promise.all(all)
      } finally {
        await upstream.close()
      }
    })
  })
})
