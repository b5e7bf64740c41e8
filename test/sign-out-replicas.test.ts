/** Sign-outs and revocations of several gateway processes that share a Redis: refused by all within two seconds. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { WebSocketServer } from 'ws'
import { bearer, open, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { needsRedis, type RedisServer, startRedis } from './support/redis.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect } from './support/websocket.ts'

const AWAY = 'The main thread has lost Redis'

const skip = await needsRedis()
const WITHIN = 2_000

/** Auth service and stream service in one. */
const upstream = http.createServer((request, response) => {
  request.resume()
  if (request.url!.includes('/logout')) return response.writeHead(204).end()
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return response.write('data: hello\n\n')
})
const sockets = new WebSocketServer({ server: upstream })

describe('gateways that share a Redis', { skip, timeout: 120_000 }, () => {
  let redis: RedisServer
  const others: RedisServer[] = []
  let a: GatewayProcess
  let b: GatewayProcess
  let url: string

  const start = () =>
    startConfigured(
      {
        redis: { url: redis.url },
        upstreams: { all: { url } },
        routes: [
          { path: '/auth/*', auth: 'none', upstream: 'all', stripPrefix: true, authService: true },
          { path: '/live/*', upstream: 'all' },
          { path: '/mine', respond: { body: 'mine' } },
        ],
      },
      { GATEWAY_ADMIN_PORT: '0', GATEWAY_LOG_LEVEL: 'debug' },
    )

  before(async () => {
    redis = await startRedis()
    upstream.listen(0, '127.0.0.1')
    await once(upstream, 'listening')
    url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
    ;[a, b] = await Promise.all([start(), start()])
  })
  after(async () => {
    await Promise.all([a?.stop('SIGKILL'), b?.stop('SIGKILL')])
    for (const socket of sockets.clients) socket.terminate()
    upstream.close()
    upstream.closeAllConnections()
    await Promise.all([redis, ...others].map(each => each?.stop()))
  })

  let users = 0
  /** A token issued a minute ago. */
  function issued(sub = `user-${users++}`, session = `${sub}-here`): string {
    return token(claims({ sub, session_id: session, iat: Math.floor(Date.now() / 1000) - 60 }))
  }

  async function statusOf(gateway: GatewayProcess, signed: string): Promise<number> {
    return (await send(`${gateway.url}/mine`, { headers: bearer(signed) })).status
  }

  /** @returns milliseconds until a request was answered so */
  async function answers(gateway: GatewayProcess, signed: string, status: number): Promise<number> {
    const began = performance.now()
    await until(`the answer is ${status}`, async () => (await statusOf(gateway, signed)) === status)
    return performance.now() - began
  }

  async function signOut(gateway: GatewayProcess, signed: string, scope: string): Promise<void> {
    const target = `${gateway.url}/auth/logout?scope=${scope}`
    assert.equal((await send(target, { method: 'POST', headers: bearer(signed) })).status, 204)
  }

  async function revocations(gateway: GatewayProcess, method: string, body: object): Promise<number> {
    const text = JSON.stringify(body)
    const headers = { 'content-type': 'application/json', 'content-length': String(text.length) }
    return (await send(`${gateway.adminUrl}/revocations`, { method, headers, body: text })).status
  }

  /** An event stream, and all of it when it has ended. */
  async function events(gateway: GatewayProcess, signed: string): Promise<{ whole: Promise<string> }> {
    const { request, answered } = open(`${gateway.url}/live/events`, {
      headers: { accept: 'text/event-stream', ...bearer(signed) },
      within: 30_000,
    })
    request.end()
    const response = await answered
    const [first] = (await once(response, 'data')) as [Buffer]
    const whole = (async () => {
      let text = String(first)
      for await (const chunk of response) text += String(chunk)
      return text
    })()
    return { whole }
  }

  const silences = ({ log }: GatewayProcess) => log.filter(({ event }) => event === AWAY).length

  /** Until both have noticed that Redis is away. */
  async function without(end: () => unknown): Promise<void> {
    const before = [silences(a), silences(b)]
    await end()
    await until('both have noticed', () => silences(a) > before[0]! && silences(b) > before[1]!)
  }

  test('a sign-out at one ends sockets and event streams at the other, and no token of it passes', async () => {
    const [mine, elsewhere] = [issued('ana', 'here'), issued('ana', 'there')]
    const socket = await connect(`${b.url}/live/socket`, { token: mine })
    const staying = await connect(`${b.url}/live/socket`, { token: elsewhere })
    const stream = await events(b, mine)
    await signOut(a, mine, 'local')
    const began = performance.now()
    assert.equal(await statusOf(a, mine), 401)
    assert.ok((await answers(b, mine, 401)) < WITHIN)
    assert.deepEqual(await socket.closed(), { code: 4401, reason: 'signed out' })
    assert.equal(await stream.whole, 'data: hello\n\n')
    assert.ok(performance.now() - began < WITHIN)
    const answer = await send(`${b.url}/mine`, { headers: bearer(mine) })
    assert.equal(answer.json().code, 'token_revoked')
    assert.equal(await statusOf(b, elsewhere), 200)
    assert.equal(staying.socket.readyState, staying.socket.OPEN)
    staying.socket.terminate()
  })

  test('a sign-out of all others leaves the session it is in, at both', async () => {
    const [here, there] = [issued('ben', 'ben-here'), issued('ben', 'ben-there')]
    const staying = await connect(`${b.url}/live/socket`, { token: here })
    const leaving = await connect(`${b.url}/live/socket`, { token: there })
    await signOut(a, here, 'others')
    assert.deepEqual(await leaving.closed(), { code: 4401, reason: 'signed out' })
    await answers(b, there, 401)
    assert.deepEqual([await statusOf(a, here), await statusOf(b, here)], [200, 200])
    assert.equal(staying.socket.readyState, staying.socket.OPEN)
    await signOut(b, there, 'global')
    assert.equal(await statusOf(b, here), 200, 'who was signed out signs nobody out')
    await signOut(b, here, 'global')
    await answers(a, here, 401)
    assert.deepEqual(await staying.closed(), { code: 4401, reason: 'signed out' })
  })

  test('one that starts later refuses with its first request', async () => {
    const [mine, all] = [issued(), issued()]
    await signOut(a, mine, 'local')
    await signOut(b, all, 'global')
    await answers(a, all, 401)
    const c = await start()
    try {
      assert.deepEqual([await statusOf(c, mine), await statusOf(c, all)], [401, 401])
      assert.equal(await statusOf(c, issued()), 200)
    } finally {
      await c.stop('SIGKILL')
    }
  })

  test('what the admin port revokes is refused by both, and passes again when either takes it back', async () => {
    const signed = issued('cleo', 'cleo-here')
    assert.equal(await revocations(a, 'POST', { session_id: 'cleo-here' }), 204)
    await answers(b, signed, 401)
    assert.equal(await revocations(b, 'DELETE', { session_id: 'cleo-here' }), 204)
    assert.equal(await statusOf(b, signed), 200)
    await answers(a, signed, 200)
    assert.deepEqual((await send(`${a.adminUrl}/revocations`)).json(), { count: 0 })
    assert.equal(await revocations(a, 'DELETE', { session_id: 'cleo-here' }), 404)
    // Of a sign-out as well
    await signOut(b, signed, 'global')
    await answers(a, signed, 401)
    assert.equal(await revocations(a, 'DELETE', { user_id: 'cleo' }), 204)
    await answers(b, signed, 200)
  })

  test('while Redis is paused a sign-out counts where it was heard, at once, and everywhere afterwards', async () => {
    const signed = issued()
    await without(() => redis.pause())
    const began = performance.now()
    await signOut(a, signed, 'local')
    assert.equal(await statusOf(a, signed), 401)
    assert.ok(performance.now() - began < WITHIN, 'nobody waits for Redis')
    assert.equal(await statusOf(b, signed), 200)
    redis.resume()
    assert.ok((await answers(b, signed, 401)) < WITHIN)
  })

  test('a Redis that was killed and comes back empty takes no sign-out away, and brings none back', async () => {
    const [before, between, restored] = [issued(), issued(), issued('dora', 'dora-here')]
    await signOut(a, before, 'local')
    await signOut(a, restored, 'local')
    await answers(b, before, 401)
    await answers(b, restored, 401)
    await without(() => redis.kill())
    await signOut(b, between, 'global')
    assert.equal(await revocations(a, 'DELETE', { session_id: 'dora-here' }), 204)
    assert.deepEqual([await statusOf(a, before), await statusOf(b, before)], [401, 401])
    others.push(await startRedis(redis.port))
    await answers(a, between, 401)
    await answers(b, restored, 200)
    const c = await start()
    try {
      await Promise.all([answers(c, before, 401), answers(c, between, 401)])
      assert.equal(await statusOf(c, restored), 200)
    } finally {
      await c.stop('SIGKILL')
    }
  })
})
