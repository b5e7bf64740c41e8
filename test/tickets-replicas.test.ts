/** Tickets of several gateway processes that share a Redis: good once, at any of them. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Redis } from 'ioredis'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { needsRedis, type RedisServer, startRedis } from './support/redis.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'
import { connect, refusal, type SocketService, socketService } from './support/websocket.ts'

const skip = await needsRedis()
const SHARED = /^s\.[\w-]{32}$/
const APP = 'https://app.example.com'
const EVENTS =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n' +
  'b\r\ndata: one\n\n\r\n0\r\n\r\n'

describe('gateways that share a Redis', { skip, timeout: 120_000 }, () => {
  let redis: RedisServer
  const others: RedisServer[] = []
  let a: GatewayProcess
  let b: GatewayProcess
  let inRedis: Redis
  let upstream: RecordingUpstream
  let service: SocketService

  before(async () => {
    redis = await startRedis()
    inRedis = new Redis(redis.port, '127.0.0.1')
    // It is killed later
    inRedis.on('error', () => {})
    upstream = await recordingUpstream(({ socket }) => socket.write(EVENTS))
    service = await socketService()
    const start = () =>
      startConfigured(
        {
          redis: { url: redis.url, timeout: 0.5 },
          cors: { origins: [APP] },
          routes: [
            { path: '/live/*', upstream: upstream.url, tickets: true },
            { path: '/socket/*', upstream: service.url, tickets: true },
          ],
        },
        { GATEWAY_LOG_LEVEL: 'debug', GATEWAY_ADMIN_PORT: '0' },
      )
    ;[a, b] = await Promise.all([start(), start()])
  })
  after(async () => {
    await Promise.all([a?.stop('SIGKILL'), b?.stop('SIGKILL')])
    inRedis?.disconnect()
    await Promise.all([upstream?.close(), service?.close()])
    await Promise.all([redis, ...others].map(each => each?.stop()))
  })

  const seen: string[] = []

  async function issue(gateway: GatewayProcess, sub = 'ana', headers = {}): Promise<string> {
    const signed = token(claims({ sub, jti: crypto.randomUUID() }))
    const answer = await send(`${gateway.url}/api/v1/tickets`, {
      method: 'POST',
      headers: { ...bearer(signed), ...headers },
    })
    assert.equal(answer.status, 201)
    const { ticket } = answer.json() as { ticket: string }
    seen.push(signed.split('.')[2]!, ticket)
    return ticket
  }

  const use = (gateway: GatewayProcess, ticket: string, headers = {}) =>
    send(`${gateway.url}/live/x?ticket=${ticket}&a=1`, {
      headers: { accept: 'text/event-stream', ...headers },
    })

  const refused = async (gateway: GatewayProcess, ticket: string): Promise<void> => {
    const answer = await use(gateway, ticket)
    assert.deepEqual([answer.status, answer.json().code], [401, 'ticket_invalid'])
  }

  /** What `/limits` of both says of Redis. */
  const redisIs = (state: string) =>
    until(`Redis is ${state}`, async () => {
      const answers = await Promise.all([a, b].map(({ adminUrl }) => send(`${adminUrl}/limits`)))
      return answers.every(answer => answer.json().redis === state)
    })

  test('a ticket of one opens an event stream at the other, for its user, and no second one', async () => {
    const ticket = await issue(a, 'bob', { origin: APP })
    assert.match(ticket, SHARED)
    const answer = await use(b, ticket, { origin: APP })
    assert.deepEqual([answer.status, answer.text], [200, 'data: one\n\n'])
    const request = upstream.requests.at(-1)!
    assert.deepEqual([request.target, request.values('x-user-id')], ['/live/x?a=1', ['bob']])
    await refused(b, ticket)
    await refused(a, ticket)
  })

  test('a ticket of one opens a WebSocket at the other, and no second one', async () => {
    const ticket = await issue(b)
    const socket = await connect(`${a.url}/socket/x?ticket=${ticket}`, { token: null })
    for (const { url } of [a, b]) {
      const { status } = await refusal(`${url}/socket/x?ticket=${ticket}`, { token: null })
      assert.equal(status, 401)
    }
    socket.socket.terminate()
  })

  test('of another origin, it is refused, and used up', async () => {
    const ticket = await issue(a, 'ana', { origin: APP })
    const answer = await use(b, ticket, { origin: 'https://other.example.com' })
    assert.deepEqual([answer.status, answer.json().code], [401, 'ticket_invalid'])
    await refused(a, ticket)
  })

  test('of many that come with one ticket to both at once, one passes', async () => {
    for (let round = 0; round < 5; round++) {
      const ticket = await issue(round % 2 === 0 ? a : b)
      const before = upstream.requests.length
      const answers = await Promise.all(
        Array.from({ length: 24 }, (_, each) => use(each % 2 === 0 ? a : b, ticket)),
      )
      const statuses = answers.map(({ status }) => status).sort()
      assert.deepEqual(statuses, [200, ...Array.from({ length: 23 }, () => 401)])
      assert.equal(upstream.requests.length, before + 1)
    }
  })

  test('a ticket that went astray is used up, and does not reach a service', async () => {
    const ticket = await issue(a)
    const answer = await send(`${b.url}/live/x?ticket=${ticket}&a=1`, { headers: bearer(token()) })
    assert.equal(answer.status, 200)
    assert.equal(upstream.requests.at(-1)!.target, '/live/x?a=1')
    await until('it is used up', async () => (await inRedis.keys('nyro:ticket:*')).length === 0)
    await refused(a, ticket)
  })

  test('while Redis is away each takes its own tickets, once, and nobody waits for long', async () => {
    const before = await issue(a)
    redis.pause()
    // Whoever asks first finds out
    await Promise.all([issue(a), issue(b)])
    await redisIs('down')
    const began = performance.now()
    const ticket = await issue(a)
    assert.doesNotMatch(ticket, SHARED)
    await refused(b, ticket)
    assert.equal((await use(a, ticket)).status, 200)
    await refused(a, ticket)
    // Nobody here knows whether it was used there
    await refused(a, before)
    assert.ok(performance.now() - began < 8_000)
    redis.resume()
    await redisIs('up')
    const shared = await issue(b)
    assert.match(shared, SHARED)
    assert.equal((await use(a, shared)).status, 200)
  })

  test('a Redis that was killed and comes back empty knows no ticket of before, and takes new ones', async () => {
    const before = await issue(a)
    await redis.kill()
    await redisIs('down')
    const between = await issue(b)
    assert.equal((await use(b, between)).status, 200)
    others.push(await startRedis(redis.port))
    await redisIs('up')
    await refused(b, before)
    const ticket = await issue(a)
    assert.equal((await use(b, ticket)).status, 200)
    await refused(a, ticket)
  })

  test('no ticket and no token came into the log, or to a service', () => {
    const all = upstream.bytes() + JSON.stringify([a.log, b.log])
    assert.ok(seen.length > 20)
    for (const secret of seen) assert.ok(!all.includes(secret), secret)
  })
})
