import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Redis } from 'ioredis'
import { freePort, needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { Blocking, type Named } from '../workers/blocking.ts'
import { RedisLink } from './link.ts'
import { RULING_FORM } from './ruling-text.ts'
import { SharedBook } from './shared-book.ts'

const skip = await needsRedis()
const FOREVER = Number.POSITIVE_INFINITY
const ANA = { kind: 'user', id: 'ana' } as const

/** One gateway’s book, shared through a Redis. */
function replica(context: TestContext, url: string) {
  const refused: string[] = []
  let lost = 0
  const link = new RedisLink(redisSchema.parse({ url, timeout: 0.5 }), { onDown() {}, onUp() {} })
  const blocking = new Blocking()
  const shared = new SharedBook(link, blocking, RULING_FORM, {
    onLost: count => {
      lost += count
    },
    onRefused: reason => refused.push(reason),
  })
  blocking.shareWith(shared)
  const close = () => {
    void shared.close()
    blocking.close()
    link.close()
  }
  context.after(close)
  const reasonOf = ({ kind, id }: Named) => blocking.blocks.get(kind, id)?.reason ?? null
  return {
    blocking,
    link,
    close,
    refused,
    lost: () => lost,
    known: shared.known,
    reasonOf,
    knows: (named: Named, reason: string | null) =>
      until(`${named.id} is ${reason ?? 'free'}`, () => reasonOf(named) === reason),
  }
}

async function running(context: TestContext, port?: number, more?: string[]): Promise<RedisServer> {
  const redis = await startRedis(port, more)
  context.after(() => redis.stop())
  return redis
}

test('what one says all know, and who comes later', { skip }, async context => {
  const redis = await running(context)
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  a.blocking.block(ANA, 'first', FOREVER)
  await b.knows(ANA, 'first')
  b.blocking.block(ANA, 'second', FOREVER)
  await a.knows(ANA, 'second')
  const hostile = { kind: 'session', id: 'a:b\n"\u0000é__proto__' } as const
  a.blocking.block(hostile, 'quotes " and \\ and é', Date.now() + 60_000)
  await b.knows(hostile, 'quotes " and \\ and é')
  const c = replica(context, redis.url)
  await c.known
  assert.deepEqual(c.blocking.list(), a.blocking.list())
  assert.deepEqual(c.blocking.list(), b.blocking.list())
  c.blocking.unblock(ANA)
  await Promise.all([a.knows(ANA, null), b.knows(ANA, null)])
})

test('an announcement that was missed is made good by asking', { skip }, async context => {
  const redis = await running(context)
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  // As if it had never come: who listens is cut off just then
  await a.link.run(client => client.call('CLIENT', 'KILL', 'TYPE', 'pubsub') as Promise<unknown>)
  a.blocking.block(ANA, 'missed', FOREVER)
  await b.knows(ANA, 'missed')
})

test('what is said while Redis is away is written when it is back, and the later word counts', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  const bob = { kind: 'user', id: 'bob' } as const
  a.blocking.block(bob, 'of before', FOREVER)
  await b.knows(bob, 'of before')
  redis.pause()
  a.blocking.block(ANA, 'said alone', FOREVER)
  b.blocking.unblock(bob)
  assert.equal(a.reasonOf(ANA), 'said alone')
  await until('it is known to be away', () => !a.link.up)
  redis.resume()
  await Promise.all([b.knows(ANA, 'said alone'), a.knows(bob, null)])
})

test('a Redis that has lost everything gets it back from any gateway, and nothing that was unblocked', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  const bob = { kind: 'user', id: 'bob' } as const
  a.blocking.block(ANA, 'kept', FOREVER)
  a.blocking.block(bob, 'to go', FOREVER)
  await b.knows(bob, 'to go')
  await redis.kill()
  await until('it is known to be away', () => !a.link.up && !b.link.up)
  a.blocking.unblock(bob)
  await running(context, redis.port)
  await b.knows(bob, null)
  const c = replica(context, redis.url)
  await c.known
  await c.knows(ANA, 'kept')
  assert.deepEqual(
    [a, b, c].map(({ reasonOf }) => [reasonOf(ANA), reasonOf(bob)]),
    Array(3).fill(['kept', null]),
  )
})

test('a Redis that is emptied under them gets it back as well', { skip }, async context => {
  const redis = await running(context)
  const a = replica(context, redis.url)
  await a.known
  a.blocking.block(ANA, 'kept', FOREVER)
  const length = () => a.link.run(client => client.hlen('nyro:{blocks}:entries'))
  await until('it is written', async () => (await length()) === 1)
  await a.link.run(client => client.flushall())
  await until('it is written again', async () => (await length()) === 1)
})

test('Redis comes later than the gateway', { skip }, async context => {
  const port = await freePort()
  const a = replica(context, `redis://127.0.0.1:${port}`)
  a.blocking.block(ANA, 'early', FOREVER)
  const redis = await running(context, port)
  const b = replica(context, redis.url)
  await b.knows(ANA, 'early')
})

test('a cluster serves as well', { skip }, async context => {
  const nodes = join(tmpdir(), `nyro-${process.pid}.nodes`)
  context.after(() => rmSync(nodes, { force: true }))
  const redis = await running(context, undefined, [
    ...['--cluster-enabled', 'yes', '--cluster-config-file', nodes],
    // One that has met no other does not know its own
    ...['--cluster-announce-ip', '127.0.0.1'],
  ])
  const admin = new Redis(redis.port, '127.0.0.1')
  context.after(() => admin.disconnect())
  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until('it serves', async () =>
    String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'),
  )
  const url = redis.url.replace('redis:', 'redis+cluster:')
  const [a, b] = [replica(context, url), replica(context, url)]
  await Promise.all([a.known, b.known])
  a.blocking.block(ANA, 'first', FOREVER)
  await b.knows(ANA, 'first')
  b.blocking.unblock(ANA)
  await a.knows(ANA, null)
})

test('what is over leaves Redis', { skip }, async context => {
  const redis = await running(context)
  const a = replica(context, redis.url)
  await a.known
  a.blocking.block(ANA, 'short', Date.now() + 50)
  const length = () => a.link.run(client => client.hlen('nyro:{blocks}:entries'))
  await until('it is written', async () => (await length()) === 1)
  await until('it is over', () => a.blocking.list().length === 0)
  a.blocking.prune()
  await until('it is gone', async () => (await length()) === 0)
})

test('many are known to whoever comes later, and other things in Redis are left alone', {
  skip,
}, async context => {
  const redis = await running(context)
  const a = replica(context, redis.url)
  await a.known
  await a.link.run(client =>
    client.hset('nyro:{blocks}:entries', 'planet:mars', '5 {"of":"another version"}'),
  )
  redis.pause()
  for (let i = 0; i < 3_000; i++) a.blocking.block({ kind: 'user', id: `user-${i}` }, 'crowd', FOREVER)
  redis.resume()
  const count = () => a.link.run(client => client.hlen('nyro:{blocks}:entries'))
  await until('all are written', async () => (await count()) === 3_001, 20_000)
  const b = replica(context, redis.url)
  await b.known
  assert.equal(b.blocking.list().length, 3_000)
  assert.equal(await count(), 3_001)
})

test('a Redis that refuses is told of once, and the blocks of this gateway stay', { skip }, async context => {
  const redis = await running(context)
  const a = replica(context, redis.url)
  await a.known
  await a.link.run(client => client.set('nyro:{blocks}:entries', 'a text'))
  a.blocking.block(ANA, 'mine', FOREVER)
  await until('it is told', () => a.refused.length > 0)
  assert.match(a.refused[0]!, /WRONGTYPE/)
  await a.link.run(client => client.del('nyro:{blocks}:entries'))
  const b = replica(context, redis.url)
  await b.knows(ANA, 'mine')
  assert.equal(a.refused.length, 1)
})

test('nonsense that somebody publishes is nothing', { skip }, async context => {
  const redis = await running(context)
  const [a, b] = [replica(context, redis.url), replica(context, redis.url)]
  await Promise.all([a.known, b.known])
  for (const text of [
    '',
    'x',
    '5',
    '5 {',
    '5 7',
    '5 [7]',
    '5 [["user:a"]]',
    '5 [["user:a","x"]]',
    `5 [["ip:x","5 {}"]]`,
  ])
    await a.link.run(client => client.publish('nyro:{blocks}:news', text))
  a.blocking.block(ANA, 'after it', FOREVER)
  await b.knows(ANA, 'after it')
  assert.equal(b.blocking.list().length, 1)
})
