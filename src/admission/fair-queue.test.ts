import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { PlainTags } from '../../test/support/plain-tags.ts'
import { FairQueue, type RefusalReason, Waiting } from './fair-queue.ts'

/** A request that remembers what became of it. */
class Request extends Waiting {
  readonly cost: number
  fate: 'waits' | 'served' | RefusalReason = 'waits'

  constructor(company: string, weight = 1, cost = 1, since = 0) {
    super(company, weight, since)
    this.cost = cost
  }

  onTurn(): void {
    this.fate = 'served'
  }

  onRefused(reason: RefusalReason): void {
    this.fate = reason
  }
}

/** A queue in front of one server, which knows what each request costs. */
class Server {
  readonly tags = new PlainTags()
  readonly queue: FairQueue<string>
  readonly #heads = new Map<string, Request[]>()

  constructor(size = Number.POSITIVE_INFINITY, timeout = Number.POSITIVE_INFINITY) {
    const costOf = (company: string): number => this.#heads.get(company)![0]!.cost
    this.queue = new FairQueue({ size, timeout, costOf }, this.tags)
  }

  arrive(request: Request): Request {
    const line = this.#heads.get(request.company) ?? []
    this.#heads.set(request.company, line)
    line.push(request)
    this.queue.add(request)
    return request
  }

  serve(): Request | null {
    const served = this.queue.next()
    if (served === null) {
      this.tags.idle()
      return null
    }
    const request = served.waiting as Request
    this.#heads.get(request.company)!.shift()
    request.onTurn()
    return request
  }

  flood(company: string, count: number, weight = 1, cost = 1): void {
    for (let n = 0; n < count; n++) this.arrive(new Request(company, weight, cost))
  }

  /** How many of the next requests that are served are whose. */
  shares(count: number): Record<string, number> {
    const shares: Record<string, number> = {}
    for (let n = 0; n < count; n++) {
      const company = this.serve()!.company
      shares[company] = (shares[company] ?? 0) + 1
    }
    return shares
  }
}

const WEIGHTS: Readonly<Record<string, number>> = { a: 1, b: 2, c: 4, d: 1 }
const company = fc.constantFrom(...Object.keys(WEIGHTS))
const arrival = fc.record({ kind: fc.constant('arrival'), company, cost: fc.integer({ min: 1, max: 50 }) })
const service = fc.record({ kind: fc.constant('service'), company, cost: fc.constant(0) })

describe('a start-time fair queue', () => {
  test('gives two companies that wait the same for their weight, within one request of each', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(arrival, service), { minLength: 100, maxLength: 400 }), steps => {
        const server = new Server()
        const pairs = new Map<string, { least: number; most: number; at: number }>()
        const largest: Record<string, number> = {}
        for (const { kind, company, cost } of steps) {
          if (kind === 'arrival') {
            server.arrive(new Request(company, WEIGHTS[company], cost))
            largest[company] = Math.max(largest[company] ?? 0, cost)
            continue
          }
          const waiting = Object.keys(WEIGHTS).filter(name => server.queue.countOf(name) > 0)
          const served = server.serve()
          for (const a of Object.keys(WEIGHTS)) {
            for (const b of Object.keys(WEIGHTS)) {
              if (a >= b) continue
              if (!waiting.includes(a) || !waiting.includes(b)) {
                pairs.delete(a + b)
                continue
              }
              const pair = pairs.get(a + b) ?? { least: 0, most: 0, at: 0 }
              pairs.set(a + b, pair)
              if (served?.company === a) pair.at += served.cost / WEIGHTS[a]!
              if (served?.company === b) pair.at -= served.cost / WEIGHTS[b]!
              pair.least = Math.min(pair.least, pair.at)
              pair.most = Math.max(pair.most, pair.at)
              const bound = largest[a]! / WEIGHTS[a]! + largest[b]! / WEIGHTS[b]!
              assert.ok(
                pair.most - pair.least <= bound + 1e-9,
                `${a}${b} ${pair.most - pair.least} > ${bound}`,
              )
            }
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test('always has a next one while one waits, and serves each company in order of arrival', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(arrival, service), { maxLength: 200 }), steps => {
        const server = new Server()
        const lines: Record<string, Request[]> = {}
        let waiting = 0
        for (const { kind, company, cost } of steps) {
          if (kind === 'arrival') {
            const request = server.arrive(new Request(company, WEIGHTS[company], cost))
            lines[company] = [...(lines[company] ?? []), request]
            waiting++
          } else {
            const served = server.serve()
            assert.equal(served === null, waiting === 0)
            if (served === null) continue
            assert.equal(lines[served.company]!.shift(), served)
            waiting--
          }
          assert.equal(server.queue.count, waiting)
          assert.equal(server.queue.least() === Number.POSITIVE_INFINITY, waiting === 0)
        }
      }),
    )
  })

  test('shares by weight', () => {
    const server = new Server()
    for (const name of ['a', 'b', 'c']) server.flood(name, 1000, WEIGHTS[name])
    assert.deepEqual(server.shares(700), { a: 100, b: 200, c: 400 })
  })

  test('shares what is used, not how often it is asked for', () => {
    const server = new Server()
    server.flood('dear', 1000, 1, 10)
    server.flood('cheap', 1000, 1, 1)
    const { dear, cheap } = server.shares(550)
    assert.ok(Math.abs(dear! * 10 - cheap!) <= 11, `${dear} and ${cheap}`)
  })

  test('lets nobody save up while away', () => {
    const server = new Server()
    server.flood('busy', 2000)
    server.shares(1000)
    server.flood('back', 500)
    assert.deepEqual(server.shares(100), { busy: 50, back: 50 })
  })

  test('makes nobody pay for what was free', () => {
    const server = new Server()
    server.flood('alone', 1000)
    assert.deepEqual(server.shares(1000), { alone: 1000 })
    assert.equal(server.serve(), null)
    server.flood('alone', 100)
    server.flood('new', 100)
    assert.deepEqual(server.shares(100), { alone: 50, new: 50 })
  })

  test('serves a quiet company before the second request of any that floods', () => {
    const server = new Server()
    for (let n = 0; n < 20; n++) server.flood(`noisy ${n}`, 50)
    server.shares(500)
    const quiet = server.arrive(new Request('quiet'))
    server.shares(21)
    assert.equal(quiet.fate, 'served')
  })

  test('charges what a request has cost when it is known', () => {
    const server = new Server()
    server.flood('a', 200)
    server.flood('b', 200)
    const before = server.shares(20)
    assert.deepEqual(before, { a: 10, b: 10 })
    server.queue.correct('a', 1, 30)
    assert.deepEqual(server.shares(30), { b: 30 })
    server.queue.correct('a', 1, -10)
    const { a } = server.shares(20)
    assert.ok(a! >= 14 && a! <= 16, `a had ${a}`)
  })
})

describe('a fair queue that is full', () => {
  test('refuses the newest of the company that has most waiting, and lets another in', () => {
    const server = new Server(10)
    server.flood('noisy', 9)
    const last = server.arrive(new Request('noisy'))
    const quiet = server.arrive(new Request('quiet'))
    assert.equal(last.fate, 'full')
    assert.equal(quiet.fate, 'waits')
    const further = server.arrive(new Request('noisy'))
    assert.equal(further.fate, 'full')
    assert.equal(server.queue.count, 10)
  })

  test('counts what waits by weight', () => {
    const server = new Server(12)
    server.flood('heavy', 8, 4)
    server.flood('light', 4, 1)
    const heavy = server.arrive(new Request('heavy', 4))
    assert.equal(heavy.fate, 'waits')
    assert.equal(server.queue.countOf('light'), 3)
  })

  test('never refuses a company within its share', () => {
    const size = 20
    fc.assert(
      fc.property(fc.array(fc.oneof(arrival, arrival, service), { minLength: 50, maxLength: 300 }), steps => {
        const server = new Server(size)
        const requests: Request[] = []
        for (const { kind, company, cost } of steps) {
          if (kind === 'service') server.queue.next()?.waiting.onTurn(1, 1)
          else {
            const request = new Request(company, WEIGHTS[company], cost)
            const counts = Object.keys(WEIGHTS).map(name => [name, server.queue.countOf(name)] as const)
            const would = new Map(counts.map(([name, count]) => [name, count + (name === company ? 1 : 0)]))
            server.arrive(request)
            requests.push(request)
            const refused = requests.find(({ fate }) => fate === 'full')
            if (refused === undefined) continue
            const present = [...would].filter(([, count]) => count > 0)
            const weights = present.reduce((sum, [name]) => sum + WEIGHTS[name]!, 0)
            const share = (size * WEIGHTS[refused.company]!) / weights
            assert.ok(would.get(refused.company)! > share)
          }
          for (let at = requests.length - 1; at >= 0; at--)
            if (requests[at]!.fate !== 'waits') requests.splice(at, 1)
          assert.ok(server.queue.count <= size)
        }
      }),
    )
  })
})

describe('one that waits in a fair queue', () => {
  test('is refused when its time is over, and no other', () => {
    const server = new Server(10, 100)
    const old = server.arrive(new Request('a'))
    const young = server.arrive(new Request('a', 1, 1, 50))
    server.queue.expire(99)
    assert.equal(old.fate, 'waits')
    server.queue.expire(100)
    assert.deepEqual([old.fate, young.fate], ['deadline', 'waits'])
    assert.equal(server.queue.count, 1)
  })

  test('is passed over with its company, which loses no turn for it', () => {
    const server = new Server()
    server.flood('a', 3)
    server.flood('b', 2)
    server.flood('c', 2)
    const passed = new Set(['a', 'b'])
    const passedOver = (company: string): boolean => passed.has(company)
    assert.equal(server.queue.nextCompany(), 'a')
    assert.equal(server.queue.nextCompany(passedOver), 'c')
    assert.equal(server.queue.nextOf('c').waiting.company, 'c')
    assert.deepEqual([server.queue.count, server.queue.countOf('c')], [6, 1])
    passed.add('c')
    assert.equal(server.queue.nextCompany(passedOver), null)
    assert.equal(server.queue.least(passedOver), Number.POSITIVE_INFINITY)
    const next = [server.serve()?.company, server.serve()?.company]
    assert.deepEqual(next.toSorted(), ['a', 'b'], 'who was passed over is next, before a second one of c')
  })

  test('can leave from anywhere, and its company is not charged', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(company, fc.nat(3), fc.nat(1000)), { maxLength: 120 }), steps => {
        const server = new Server()
        const waiting = new Set<Request>()
        for (const [company, action, which] of steps) {
          const some = [...waiting][which % Math.max(1, waiting.size)]
          if (action === 0 && some !== undefined) {
            server.queue.remove(some)
            server.queue.remove(some)
            waiting.delete(some)
          } else if (action === 1) {
            const next = server.queue.next()?.waiting as Request | undefined
            assert.equal(next === undefined, waiting.size === 0)
            if (next !== undefined) assert.ok(waiting.delete(next))
          } else waiting.add(server.arrive(new Request(company, WEIGHTS[company])))
          assert.equal(server.queue.count, waiting.size)
        }
        for (const _ of [...waiting]) assert.ok(waiting.delete(server.queue.next()!.waiting as Request))
        assert.equal(server.queue.next(), null)
        assert.equal(server.queue.weights, 0)
      }),
    )
    const server = new Server()
    const left = server.arrive(new Request('a'))
    server.flood('a', 10)
    server.flood('b', 10)
    server.queue.remove(left)
    assert.deepEqual(server.shares(10), { a: 5, b: 5 })
  })
})
