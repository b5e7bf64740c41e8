import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { freePort, needsRedis, startRedis } from '../../test/support/redis.ts'
import { until } from '../../test/support/until.ts'
import { redisSchema } from '../config/redis.ts'
import { RedisLink, RedisUnavailable } from './link.ts'

const skip = await needsRedis()

function linkTo(context: TestContext, url: string, timeout = 0.2) {
  const told: string[] = []
  const link = new RedisLink(redisSchema.parse({ url, timeout }), {
    onDown: () => told.push('down'),
    onUp: () => told.push('up'),
  })
  context.after(() => link.close())
  return { link, told, up: () => until('the link is up', async () => link.up) }
}

const get = (link: RedisLink) => link.run(client => client.get('nyro:a'))

test('answers what Redis says', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const { link, up } = linkTo(context, redis.url)
  await up()
  await link.run(client => client.set('nyro:a', '1'))
  assert.equal(await get(link), '1')
})

test('a mistake in the question is no fault of the server', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const { link, up, told } = linkTo(context, redis.url)
  await up()
  await assert.rejects(
    link.run(client => client.call('NONSENSE') as Promise<unknown>),
    /unknown command/,
  )
  assert.ok(link.up)
  assert.deepEqual(told, ['up'])
})

test('a paused server is waited for once, then not at all, and is back by itself', {
  skip,
}, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const { link, up, told } = linkTo(context, redis.url, 0.05)
  await up()
  redis.pause()
  const before = performance.now()
  await assert.rejects(get(link), RedisUnavailable)
  assert.ok(performance.now() - before < 1_000)
  const after = performance.now()
  await assert.rejects(get(link), RedisUnavailable)
  assert.ok(performance.now() - after < 20, 'refused at once')
  redis.resume()
  await up()
  assert.equal(await get(link), null)
  assert.deepEqual(told, ['up', 'down', 'up'])
})

test('a server that is killed and started again is found again', { skip }, async context => {
  const redis = await startRedis()
  context.after(() => redis.stop())
  const { link, up, told } = linkTo(context, redis.url)
  await up()
  await redis.kill()
  await until('it is known to be away', async () => !link.up)
  const again = await startRedis(redis.port)
  context.after(() => again.stop())
  await up()
  assert.equal(await get(link), null)
  assert.deepEqual(told, ['up', 'down', 'up'])
})

test('nothing listens there: told once', async context => {
  const { link, told } = linkTo(context, `redis://127.0.0.1:${await freePort()}`)
  await until('it is told', async () => told.length > 0)
  await assert.rejects(get(link), RedisUnavailable)
  assert.deepEqual(told, ['down'])
})

test('garbage instead of answers is a server that is away', async context => {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', () => socket.write('\x00\xff nonsense\r\n'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => server.close())
  const { link, told } = linkTo(context, `redis://127.0.0.1:${(server.address() as { port: number }).port}`)
  await until('it is told', async () => told.length > 0)
  assert.equal(link.up, false)
  assert.deepEqual(told, ['down'])
})

test('a password is given', { skip }, async context => {
  const redis = await startRedis(undefined, ['--requirepass', 'se:cr@t'])
  context.after(() => redis.stop())
  const { link, up } = linkTo(context, `redis://:se%3Acr%40t@127.0.0.1:${redis.port}`)
  await up()
  assert.equal(await get(link), null)
})

test('a wrong password is a server that is away, and says why', { skip }, async context => {
  const redis = await startRedis(undefined, ['--requirepass', 'secret'])
  context.after(() => redis.stop())
  const reasons: string[] = []
  const link = new RedisLink(redisSchema.parse({ url: `redis://:wrong@127.0.0.1:${redis.port}` }), {
    onDown: reason => reasons.push(reason),
    onUp: () => {},
  })
  context.after(() => link.close())
  await until('it is told', async () => reasons.length > 0)
  assert.match(reasons[0]!, /WRONGPASS|NOAUTH/)
})
