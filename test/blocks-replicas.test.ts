/** Blocks of several gateway processes that share a Redis: known to all within two seconds, whatever becomes of Redis. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { block, listed, unblock } from './support/blocks.ts'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { freePort, needsRedis, type RedisServer, startRedis } from './support/redis.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, socketService } from './support/websocket.ts'

/** What serves tells everybody later, once for a while that it lasts; this is said at once. */
const AWAY = 'The main thread has lost Redis'

const skip = await needsRedis()
const WITHIN = 2_000
const MINE = token(claims({ sub: 'ana' }))

describe('gateways that share a Redis', { skip, timeout: 120_000 }, () => {
  let redis: RedisServer
  const others: RedisServer[] = []
  let a: GatewayProcess
  let b: GatewayProcess
  let service: Awaited<ReturnType<typeof socketService>>

  const start = (url = redis.url) =>
    startConfigured(
      {
        redis: { url },
        routes: [
          { path: '/mine', respond: { body: 'mine' } },
          { path: '/live', upstream: service.url },
        ],
      },
      { GATEWAY_ADMIN_PORT: '0', GATEWAY_LOG_LEVEL: 'debug' },
    )

  before(async () => {
    redis = await startRedis()
    service = await socketService()
    ;[a, b] = await Promise.all([start(), start()])
  })
  after(async () => {
    await Promise.all([a?.stop('SIGKILL'), b?.stop('SIGKILL')])
    await service?.close()
    await Promise.all([redis, ...others].map(each => each?.stop()))
  })

  const statusOf = async (gateway: GatewayProcess) =>
    (await send(`${gateway.url}/mine`, { headers: bearer(MINE) })).status

  /** @returns milliseconds until a request was answered so */
  async function answers(gateway: GatewayProcess, status: number, since: number): Promise<number> {
    await until(`the answer is ${status}`, async () => (await statusOf(gateway)) === status)
    return performance.now() - since
  }

  /** Until both have noticed. */
  async function pause(): Promise<void> {
    const silences = ({ log }: GatewayProcess) => log.filter(({ event }) => event === AWAY).length
    const before = [silences(a), silences(b)]
    redis.pause()
    await until('both have noticed', () => silences(a) > before[0]! && silences(b) > before[1]!)
  }

  test('a block and its end on one are seen on the other, with the reason, and end what is open there', async () => {
    const socket = await connect(`${b.url}/live`, { token: MINE })
    const blocked = performance.now()
    assert.equal((await block(a, { user_id: 'ana', reason: 'Unpaid', expires_in: 600 })).status, 201)
    assert.equal(await statusOf(a), 403)
    assert.ok((await answers(b, 403, blocked)) < WITHIN)
    assert.deepEqual(await socket.closed(), { code: 4401, reason: 'Unpaid' })
    assert.ok(performance.now() - blocked < WITHIN)
    const answer = await send(`${b.url}/mine`, { headers: bearer(MINE) })
    assert.deepEqual([answer.json().code, answer.json().reason], ['user_blocked', 'Unpaid'])
    assert.deepEqual(await listed(b), await listed(a))
    const unblocked = performance.now()
    assert.equal((await unblock(b, { user_id: 'ana' })).status, 204)
    assert.ok((await answers(a, 200, unblocked)) < WITHIN)
  })

  test('one that starts later knows it with its first request', async () => {
    await block(a, { user_id: 'ana', reason: 'Unpaid' })
    await until('it is shared', async () => (await listed(b)).length === 1)
    const c = await start()
    try {
      assert.equal(await statusOf(c), 403)
    } finally {
      await c.stop('SIGKILL')
    }
    await unblock(a, { user_id: 'ana' })
    await answers(b, 200, 0)
  })

  test('while Redis is paused each goes on by itself, and what was said then is known when it is back', async () => {
    await pause()
    const alone = performance.now()
    await block(a, { user_id: 'ana', reason: 'Said alone' })
    assert.equal(await statusOf(a), 403)
    assert.ok(performance.now() - alone < WITHIN, 'nobody waits for Redis')
    assert.equal(await statusOf(b), 200)
    redis.resume()
    assert.ok((await answers(b, 403, performance.now())) < WITHIN)
    await pause()
    await unblock(b, { user_id: 'ana' })
    assert.equal(await statusOf(b), 200)
    redis.resume()
    assert.ok((await answers(a, 200, performance.now())) < WITHIN)
  })

  test('a Redis that was killed and comes back empty takes nothing away, and brings nothing back', async () => {
    await block(a, { user_id: 'ana', reason: 'Kept' })
    await block(a, { company_id: 'gone', reason: 'To go' })
    await until('both are known', async () => (await listed(b)).length === 2)
    await redis.kill()
    await Promise.all([a, b].map(each => each.logged(({ event }) => event === AWAY)))
    assert.deepEqual([await statusOf(a), await statusOf(b)], [403, 403])
    await unblock(a, { company_id: 'gone' })
    others.push(await startRedis(redis.port))
    await until('all agree', async () => (await listed(b)).length === 1)
    const c = await start()
    try {
      await until('it knows', async () => (await statusOf(c)) === 403)
      assert.deepEqual(await listed(c), await listed(a))
    } finally {
      await c.stop('SIGKILL')
    }
    const unblocked = performance.now()
    await unblock(a, { user_id: 'ana' })
    assert.ok((await answers(b, 200, unblocked)) < WITHIN)
  })

  test('without Redis a gateway starts all the same, says so, and hears of blocks when Redis is there', async () => {
    const port = await freePort()
    const url = `redis://127.0.0.1:${port}`
    const d = await start(url)
    try {
      await d.logged(({ event }) =>
        String(event).startsWith('Blocks and revocations of other gateways are not known'),
      )
      assert.equal(await statusOf(d), 200)
      await block(d, { user_id: 'ana', reason: 'Early' })
      assert.equal(await statusOf(d), 403)
      others.push(await startRedis(port))
      const e = await start(url)
      try {
        await answers(e, 403, 0)
      } finally {
        await e.stop('SIGKILL')
      }
    } finally {
      await d.stop('SIGKILL')
    }
  })
})
