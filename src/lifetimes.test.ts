import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { identityOf } from '../test/support/exchange.ts'
import type { EndReason, RouteInfo } from './exchange.ts'
import type { Identity } from './identity/identity.ts'
import { Lifetimes, type LongLived } from './lifetimes.ts'
import { rulingOf } from './store/block.ts'
import { Blocks } from './store/blocks.ts'

class Stream implements LongLived {
  readonly identity: Identity | null
  route: RouteInfo | null = null
  readonly ip: string
  readonly ended = Promise.withResolvers<EndReason>()
  words: string | null = null
  reasons = 0

  constructor(identity: Identity | null, ip = '192.0.2.1') {
    this.identity = identity
    this.ip = ip
  }

  endFor(reason: EndReason, words: string | null = null): void {
    this.reasons++
    this.words = words
    this.ended.resolve(reason)
  }
}

class Revoked {
  version = 0
  readonly #users = new Set<string>()

  add(userId: string): void {
    this.#users.add(userId)
    this.version++
  }

  isRevoked({ userId }: Identity): boolean {
    return this.#users.has(userId)
  }
}

const ana = identityOf({ userId: 'ana' })
const bob = identityOf({ userId: 'bob' })

describe('a stream', { timeout: 10_000 }, () => {
  test('ends when its identity is revoked, and no other does', async () => {
    const revoked = new Revoked()
    const lifetimes = new Lifetimes(30, revoked)
    const [hers, his, nobodys] = [new Stream(ana), new Stream(bob), new Stream(null)]
    for (const stream of [hers, his, nobodys]) lifetimes.add(stream)
    revoked.add('ana')
    assert.equal(await hers.ended.promise, 'token_revoked')
    assert.deepEqual([his.reasons, nobodys.reasons], [0, 0])
    for (const stream of [hers, his, nobodys]) lifetimes.remove(stream)
    assert.equal(lifetimes.size, 0)
  })

  for (const [kind, id] of [
    ['company', 'acme'],
    ['user', 'ana'],
    ['session', 's1'],
    ['ip', '192.0.2.0/24'],
  ] as const) {
    test(`ends with the operator’s words when its ${kind} is blocked, and no other does`, async () => {
      const blocks = new Blocks()
      const lifetimes = new Lifetimes(30, null, blocks)
      const hers = new Stream(identityOf({ userId: 'ana', sessionId: 's1', companyId: 'acme' }))
      const other = new Stream(identityOf({ userId: 'bob', companyId: 'other' }), '198.51.100.7')
      for (const stream of [hers, other]) lifetimes.add(stream)
      blocks.apply(rulingOf({ kind, id, reason: 'Unpaid', since: 1, until: Number.POSITIVE_INFINITY }))
      assert.equal(await hers.ended.promise, `${kind}_blocked`)
      assert.deepEqual([hers.words, other.reasons], ['Unpaid', 0])
      for (const stream of [hers, other]) lifetimes.remove(stream)
    })
  }

  test('of nobody ends when its address is blocked', async () => {
    const blocks = new Blocks()
    const lifetimes = new Lifetimes(30, null, blocks)
    const nobodys = new Stream(null)
    lifetimes.add(nobodys)
    blocks.apply(
      rulingOf({ kind: 'ip', id: '192.0.2.1', reason: null, since: 1, until: Date.now() + 60_000 }),
    )
    assert.equal(await nobodys.ended.promise, 'ip_blocked')
    lifetimes.remove(nobodys)
  })

  test('ends when it was revoked while its upstream was asked', async () => {
    const revoked = new Revoked()
    const lifetimes = new Lifetimes(30, revoked)
    revoked.add('ana')
    const late = new Stream(ana)
    lifetimes.add(late)
    assert.equal(late.reasons, 0, 'not before whoever adds it is done')
    assert.equal(await late.ended.promise, 'token_revoked')
    lifetimes.remove(late)
  })

  test('ends when the gateway stops, be it there before or not', async () => {
    const lifetimes = new Lifetimes(30, null)
    const early = new Stream(null)
    lifetimes.add(early)
    lifetimes.drain(0.2)
    const late = new Stream(ana)
    lifetimes.add(late)
    assert.deepEqual(await Promise.all([early.ended.promise, late.ended.promise]), ['draining', 'draining'])
  })

  test('that is over is left alone', async () => {
    const lifetimes = new Lifetimes(30, null)
    const [over, last] = [new Stream(null), new Stream(null)]
    lifetimes.add(over)
    lifetimes.add(last)
    lifetimes.drain(0.2)
    lifetimes.remove(over)
    await last.ended.promise
    assert.equal(over.reasons, 0)
  })

  test('is spread over the time to stop', async () => {
    const lifetimes = new Lifetimes(30, null)
    const streams = Array.from({ length: 40 }, () => new Stream(null))
    for (const stream of streams) lifetimes.add(stream)
    const started = performance.now()
    lifetimes.drain(1)
    const times = await Promise.all(
      streams.map(({ ended }) => ended.promise.then(() => performance.now() - started)),
    )
    // By chance all of 40 fall into a quarter of the time once in 10^24 runs
    assert.ok(Math.max(...times) - Math.min(...times) > 200)
  })

  test('has its right for as long as its token, and the leeway', () => {
    assert.equal(new Lifetimes(30, null).endOf(identityOf({ expiresAt: 1_000 })), 1_030_000)
  })
})

describe('routes are replaced: a stream', { timeout: 10_000 }, () => {
  const routeOf = (name: string): RouteInfo => ({ name, path: name })
  const now = { leeway: 30, seconds: 0.2 }
  const on = (route: RouteInfo): Stream => {
    const stream = new Stream(null)
    stream.route = route
    return stream
  }

  test('of the same route goes on with it, one of another ends', async () => {
    const lifetimes = new Lifetimes(30, null)
    const [kept, gone, next] = [routeOf('kept'), routeOf('gone'), routeOf('kept')]
    const [stays, leaves] = [on(kept), on(gone)]
    for (const stream of [stays, leaves]) lifetimes.add(stream)
    lifetimes.replaceRoutes(
      [
        [kept, next],
        [gone, null],
      ],
      now,
    )
    assert.equal(stays.route, next)
    assert.equal(await leaves.ended.promise, 'route_changed')
    assert.equal(stays.reasons, 0)
    // Told once, however many reloads follow while it leaves
    lifetimes.replaceRoutes([], now)
    lifetimes.remove(leaves)
    assert.equal(leaves.reasons, 1)
  })

  test('that comes late, by a route of several configurations ago, is held against the present one', async () => {
    const lifetimes = new Lifetimes(30, null)
    const routes = ['a', 'b', 'c'].map(routeOf) as [RouteInfo, RouteInfo, RouteInfo]
    const last = routeOf('last')
    lifetimes.replaceRoutes([[routes[0], routes[1]]], now)
    lifetimes.replaceRoutes([[routes[1], last]], now)
    const late = on(routes[0])
    lifetimes.add(late)
    assert.equal(late.route, last)
    lifetimes.replaceRoutes([[last, null]], now)
    const later = on(routes[0])
    lifetimes.add(later)
    assert.equal(later.reasons, 0, 'not before whoever adds it is done')
    assert.deepEqual(await Promise.all([late.ended.promise, later.ended.promise]), [
      'route_changed',
      'route_changed',
    ])
  })

  test('that comes from now on has the new leeway', () => {
    const lifetimes = new Lifetimes(45, null)
    lifetimes.replaceRoutes([], { leeway: 30, seconds: 0 })
    assert.equal(lifetimes.endOf(identityOf({ expiresAt: 1_000 })), 1_030_000)
  })
})
