import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { freePort, needsRedis, type RedisServer, startRedis } from '../../test/support/redis.ts'
import { token } from '../../test/support/token.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { SharedCounters } from '../store/shared-counters.ts'
import { MAX_PAYLOAD, Tickets } from '../store/tickets.ts'
import { RedisLink } from './link.ts'
import { SharedTickets } from './shared-tickets.ts'

const skip = await needsRedis()
const PAYLOAD = `https://app.example.com ${token()}`
const SHARED = /^s\.[\w-]{32}$/

/** The tickets of one gateway. */
function gateway(context: TestContext, url: string, timeout = 0.5) {
  const link = new RedisLink(redisSchema.parse({ url, timeout }), { onDown() {}, onUp() {} })
  context.after(() => link.close())
  const refused: string[] = []
  const local = Tickets.create({ usual: 8, large: 2 })
  const tickets = new SharedTickets(link, local, SharedCounters.create({ capacity: 100 }), reason =>
    refused.push(reason),
  )
  return {
    link,
    refused,
    up: () => until('the link is up', () => link.up),
    issue: async (payload = PAYLOAD, lifetime = 30_000) => {
      const now = Date.now()
      return tickets.issue(payload, now + lifetime, now)
    },
    redeem: async (ticket: string | null) => tickets.redeem(ticket!, Date.now()),
    discard: (ticket: string | null) => tickets.discard(ticket!, Date.now()),
    keys: () => link.run(client => client.keys('*')),
  }
}

type Gateway = ReturnType<typeof gateway>

async function running(context: TestContext): Promise<RedisServer> {
  const redis = await startRedis()
  context.after(() => redis.stop())
  return redis
}

async function two(context: TestContext, redis: RedisServer): Promise<[Gateway, Gateway]> {
  const [a, b] = [gateway(context, redis.url), gateway(context, redis.url)]
  await Promise.all([a.up(), b.up()])
  return [a, b]
}

test('a ticket is good once, wherever it was issued, and leaves nothing behind', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  for (const [from, to] of [
    [a, b],
    [b, a],
    [a, a],
  ] as const) {
    const ticket = await from.issue()
    assert.match(ticket!, SHARED)
    assert.equal(await to.redeem(ticket), PAYLOAD)
    assert.equal(await a.redeem(ticket), null)
    assert.equal(await b.redeem(ticket), null)
  }
  assert.deepEqual(await a.keys(), [])
})

test('of many that come with it at once exactly one gets it', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  for (let round = 0; round < 20; round++) {
    const ticket = await a.issue()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, each) => (each % 2 === 0 ? a : b).redeem(ticket)),
    )
    assert.equal(answers.filter(answer => answer === PAYLOAD).length, 1)
    assert.equal(answers.filter(answer => answer === null).length, 9)
  }
})

test('it ends with its lifetime, and so does what is in Redis', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  const ticket = await a.issue(PAYLOAD, 50)
  await until('it is gone', async () => (await a.keys()).length === 0)
  assert.equal(await b.redeem(ticket), null)
})

test('what is in Redis is neither ticket nor token, and says nothing without the ticket', {
  skip,
}, async context => {
  const [a, b] = await two(context, await running(context))
  const ticket = await a.issue()
  const [key] = await a.keys()
  const record = await a.link.run(client => client.get(key!))
  const bytes = Buffer.from(record!, 'base64').toString('latin1')
  const pieces = [ticket!.slice(2, 12), ...PAYLOAD.split(/[ .]/)].map(piece => piece.slice(0, 16))
  for (const piece of pieces) assert.ok(!`${key} ${record} ${bytes}`.includes(piece), piece)
  // Nor does it open under another ticket’s name
  const other = await a.issue('other')
  const otherKey = (await a.keys()).find(each => each !== key)!
  await a.link.run(client => client.set(otherKey, record!))
  assert.equal(await b.redeem(other), null)
  for (const text of ['', 'x', 'AAAA', record!.slice(0, -4)]) {
    await a.link.run(client => client.set(key!, text))
    assert.equal(await b.redeem(ticket), null)
  }
})

test('any payload passes byte for byte, up to the longest', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  const longest = Buffer.from(Array.from({ length: MAX_PAYLOAD }, (_, i) => i)).toString('latin1')
  for (const payload of ['', 'é\r\n\0', longest])
    assert.equal(await b.redeem(await a.issue(payload)), payload)
  assert.equal(await a.issue(`${longest}x`), null)
})

test('what is no ticket is nothing, and takes nothing from the right one', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  const ticket = await a.issue()
  const flipped = `s.${ticket![2] === 'A' ? 'B' : 'A'}${ticket!.slice(3)}`
  for (const text of ['', 's.', 's.*', flipped, `${ticket}A`, ticket!.slice(2), 'A'.repeat(24)])
    assert.equal(await b.redeem(text), null)
  assert.equal(await b.redeem(ticket), PAYLOAD)
})

test('one that went astray is used up, and what cannot be told from one passes nowhere', {
  skip,
}, async context => {
  const [a, b] = await two(context, await running(context))
  const ticket = await a.issue()
  assert.equal(b.discard(ticket), true)
  await until('it is used up', async () => (await a.keys()).length === 0)
  assert.equal(await a.redeem(ticket), null)
  assert.equal(b.discard(ticket), true)
  for (const text of ['', '17', 'd41d8cd98f00b204e9800998ecf8427e']) assert.equal(b.discard(text), false)
})

test('while Redis is away tickets are good where they were issued, once, and none hangs', {
  skip,
}, async context => {
  const redis = await running(context)
  const [a, b] = [gateway(context, redis.url, 0.2), gateway(context, redis.url, 0.2)]
  await Promise.all([a.up(), b.up()])
  const before = await a.issue()
  redis.pause()
  // The one who notices has waited for no longer than it may
  const first = await a.issue()
  assert.doesNotMatch(first!, SHARED)
  const began = performance.now()
  const second = await a.issue()
  assert.equal(await a.redeem(second), PAYLOAD)
  assert.equal(await a.redeem(second), null)
  assert.equal(await b.redeem(first), null)
  // It may have been used at another one
  assert.equal(await a.redeem(before), null)
  assert.ok(performance.now() - began < 2_000)
  redis.resume()
  await Promise.all([a.up(), b.up()])
  assert.equal(await a.redeem(first), PAYLOAD, 'issued alone, it is good here for its time')
  assert.equal(await b.redeem(before), PAYLOAD, 'Redis has it yet')
  assert.match((await a.issue())!, SHARED)
})

test('one whose taking nobody heard of is not given out a second time', { skip }, async context => {
  const redis = await running(context)
  const [a] = await two(context, redis)
  const ticket = await a.issue()
  // Redis hears of it, and its answers come to nobody
  const relay = await relayTo(context, redis.port)
  const c = gateway(context, relay.url, 0.2)
  await c.up()
  relay.swallow()
  assert.equal(await c.redeem(ticket), null)
  await until('it is taken', async () => (await a.keys()).length === 0)
  assert.equal(await a.redeem(ticket), null)
})

test('without any Redis there tickets are those of the process', async context => {
  const a = gateway(context, `redis://127.0.0.1:${await freePort()}`)
  const ticket = await a.issue()
  assert.match(ticket!, /^[\w-]{24}$/)
  assert.equal(await a.redeem(ticket), PAYLOAD)
})

test('a Redis that refuses is told of, and tickets are those of the process', { skip }, async context => {
  const [a] = await two(context, await running(context))
  await a.link.run(client => client.call('ACL', 'SETUSER', 'default', '-set') as Promise<unknown>)
  const ticket = await a.issue()
  assert.match(a.refused[0]!, /NOPERM/)
  assert.equal(await a.redeem(ticket), PAYLOAD)
})

test('one process keeps no more in Redis than there is room for in itself', { skip }, async context => {
  const [a, b] = await two(context, await running(context))
  const long = 'x'.repeat(MAX_PAYLOAD)
  let issued = 0
  // At a border of lifetimes it begins anew
  while (issued < 5_000 && (await a.issue(long, 3_600_000)) !== null) issued++
  assert.ok(issued >= 1_900 && issued < 4_000, `${issued}`)
  assert.match((await b.issue(long))!, SHARED)
})

/** A way to Redis on which answers can be lost. */
async function relayTo(context: TestContext, port: number) {
  let deaf = false
  const server = createServer(client => {
    const redis = connect(port, '127.0.0.1')
    for (const socket of [client, redis]) socket.on('error', () => {})
    client.pipe(redis)
    redis.on('data', bytes => deaf || client.write(bytes))
    client.on('close', () => redis.destroy())
    redis.on('close', () => client.destroy())
    context.after(() => client.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    swallow() {
      deaf = true
    },
  }
}
