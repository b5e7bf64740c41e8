import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { revocationOf } from '../store/revocation.ts'
import { Revocations } from '../store/revocations.ts'
import { Revoking } from '../workers/revoking.ts'
import { RedisLink } from './link.ts'
import { REVOCATION_FORM } from './revocation-text.ts'
import { SharedBook } from './shared-book.ts'

const skip = await needsRedis()
const HASH = 'nyro:{revocations}:entries'
const FOR_LONG = Date.now() + 3_600_000
const ISSUED = Math.floor(Date.now() / 1000) - 60

/** One gateway’s revocations, shared through a Redis. */
function replica(context: TestContext, url: string) {
  const link = new RedisLink(redisSchema.parse({ url, timeout: 0.5 }), { onDown() {}, onUp() {} })
  const table = Revocations.create(10_000)
  const revoking = new Revoking(table)
  const shared = new SharedBook(link, revoking, REVOCATION_FORM, { onLost() {}, onRefused() {} })
  revoking.shareWith(shared)
  context.after(() => {
    void shared.close()
    revoking.close()
    link.close()
  })
  const refuses = (sessionId: string | null, userId = 'ana') =>
    table.isRevoked({ userId, sessionId, issuedAt: ISSUED }, Date.now())
  return {
    link,
    table,
    revoking,
    known: shared.known,
    /** As a thread does it: in the table first. */
    revoke(kind: 'user' | 'session', id: string, end = FOR_LONG, now = Date.now()) {
      table.revoke(kind, id, end, now)
      revoking.note(revocationOf(kind, id, now, end))
    },
    revokeOthers(spared: string, now = Date.now()) {
      table.revokeOthers('ana', spared, FOR_LONG, now)
      revoking.note({ ...revocationOf('user', 'ana', now, FOR_LONG), spared })
    },
    refuses,
    refusesAll: (...sessions: (string | null)[]) => sessions.map(session => refuses(session)),
    length: () => link.run(client => client.hlen(HASH)),
  }
}

type Replica = ReturnType<typeof replica>

async function running(context: TestContext, port?: number): Promise<RedisServer> {
  const redis = await startRedis(port)
  context.after(() => redis.stop())
  return redis
}

async function both(context: TestContext, redis: RedisServer): Promise<[Replica, Replica]> {
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  return [a, b]
}

test('what one revokes all refuse, and who comes later, until one takes it back', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  a.revoke('session', 's1')
  b.revoke('user', 'ben')
  await until('each knows', () => b.refuses('s1') && a.refuses(null, 'ben'))
  const c = replica(context, redis.url)
  await c.known
  assert.deepEqual([c.refuses('s1'), c.refuses('s2'), c.refuses('x', 'ben')], [true, false, true])
  assert.equal(c.revoking.restore('session', 's1'), true)
  await until('each knows', () => !a.refuses('s1') && !b.refuses('s1'))
  a.revoke('session', 's1')
  await until('each knows', () => b.refuses('s1') && c.refuses('s1'))
})

test('a session that is spared passes at all of them, and never the one of another user', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  a.revokeOthers('s1')
  await until('it is known', () => b.refuses('s2'))
  assert.deepEqual(b.refusesAll('s1', 's2', null), [false, true, true])
  const c = replica(context, redis.url)
  await c.known
  assert.deepEqual(c.refusesAll('s1', 's2', null), [false, true, true])
})

test('of two sign-outs that spare different sessions without knowing of each other both count', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  for (let round = 0; round < 20; round++) {
    a.revokeOthers('s1')
    b.revokeOthers('s2')
  }
  await until('both are refused', () => [a, b].every(each => each.refuses('s1') && each.refuses('s2')))
  const text = () => a.link.run(client => client.hget(HASH, 'user:ana'))
  const written = (each: Replica) => REVOCATION_FORM.write(each.revoking.find({ kind: 'user', id: 'ana' })!)
  await until('all have the same', async () => {
    const there = await text()
    return there === written(a) && there === written(b)
  })
  const c = replica(context, redis.url)
  await c.known
  assert.deepEqual(c.refusesAll('s1', 's2', null), [true, true, true])
})

test('what is revoked while Redis is away is told when it is back, none of it undone by what others said', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  redis.pause()
  // A thief's session spares itself on the one, after its user has signed out of all on the other
  a.revoke('user', 'ana')
  b.revokeOthers('s1')
  a.revoke('session', 'x')
  assert.deepEqual([a.refuses('s1'), b.refuses('s1')], [true, false])
  await until('it is known to be away', () => !a.link.up)
  redis.resume()
  await until('each knows', () => b.refuses('s1') && b.refuses('x'))
  assert.ok(a.refuses('s1'))
  const c = replica(context, redis.url)
  await c.known
  await until('it knows', () => c.refuses('s1') && c.refuses('x'))
})

test('a Redis that has lost everything gets it back, and nothing that was taken back', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  a.revoke('session', 's1')
  a.revoke('session', 's2')
  await until('it is known', () => b.refuses('s1') && b.refuses('s2'))
  await redis.kill()
  await until('it is known to be away', () => !a.link.up && !b.link.up)
  a.revoking.restore('session', 's2')
  await running(context, redis.port)
  await until('it is known', () => !b.refuses('s2'))
  const c = replica(context, redis.url)
  await c.known
  await until('it knows', () => c.refuses('s1'))
  assert.equal(c.refuses('s2'), false)
})

test('what is over leaves Redis', { skip }, async context => {
  const redis = await running(context)
  const [a] = await both(context, redis)
  a.revoke('session', 's1', Date.now() + 50)
  await until('it is written', async () => (await a.length()) === 1)
  await until('it is over', () => !a.refuses('s1'))
  a.revoking.prune()
  await until('it is gone', async () => (await a.length()) === 0)
})

test('many sign-outs at several gateways are known to all', { skip }, async context => {
  const redis = await running(context)
  const [a, b] = await both(context, redis)
  for (let i = 0; i < 1_500; i++) (i % 2 === 0 ? a : b).revoke('session', `s${i}`)
  const all = Array.from({ length: 1_500 }, (_, i) => `s${i}`)
  await until('each knows', () => [a, b].every(each => all.every(session => each.refuses(session))))
  await until('all are written', async () => (await a.length()) === 1_500)
  const c = replica(context, redis.url)
  await c.known
  assert.ok(all.every(session => c.refuses(session)))
})

test('what was said just before the end is told', { skip }, async context => {
  const redis = await running(context)
  const [a] = await both(context, redis)
  const link = new RedisLink(redisSchema.parse({ url: redis.url, timeout: 0.5 }), { onDown() {}, onUp() {} })
  const revoking = new Revoking(Revocations.create(100))
  const shared = new SharedBook(link, revoking, REVOCATION_FORM, { onLost() {}, onRefused() {} })
  revoking.shareWith(shared)
  await shared.known
  revoking.note(revocationOf('session', 's1', Date.now(), FOR_LONG))
  await shared.close()
  revoking.close()
  link.close()
  await until('it is known', () => a.refuses('s1'))
})
