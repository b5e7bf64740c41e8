/** Peers of HTTP/2 that break the rules in the worst moment: nothing of theirs stays behind, nobody else pays. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import {
  END_HEADERS,
  FRAME,
  type Frame,
  frame,
  getFrame,
  openFrames,
  resetFrame,
  section,
  settings,
} from './support/http2-frames.ts'
import { type Http2Upstream, http2Upstream } from './support/http2-upstream.ts'
import { type Service, service } from './support/service.ts'

const MB = 1_048_576
const NO_WINDOW = settings([[4, 0]])
const GOAWAY = frame(FRAME.goaway, 0, 0, Buffer.alloc(8))
const INTERNAL_ERROR = 2
const CANCEL = 8

let gateway: GatewayProcess
let large: Service
let modern: Http2Upstream
/** What the upstream of HTTP/2 does with a request. */
let serve: Parameters<typeof http2Upstream>[0] = ({ stream }) =>
  stream.respond({ ':status': 200 }, { endStream: true })

before(async () => {
  large = await service((request, response) => {
    // Neither reads a body, nor ends its answer
    if (request.method === 'POST') return
    response.writeHead(200)
    response.write(Buffer.alloc(400_000))
  })
  modern = await http2Upstream(request => serve(request))
  gateway = await startConfigured({
    server: {
      http2: { cleartext: true, maxResets: 1_000 },
      sendTimeout: 1,
      keepAliveTimeout: 1,
      headerTimeout: 5,
    },
    routes: [
      { path: '/hello', auth: 'none', respond: { body: 'hello' } },
      {
        path: '/large',
        auth: 'none',
        upstream: { url: large.url, maxConnections: 1 },
        timeouts: { idle: 1 },
      },
      { path: '/held', auth: 'none', upstream: { url: large.url, maxConnections: 1 } },
      { path: '/modern/*', auth: 'none', upstream: { url: modern.url, protocol: 'h2c' } },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await Promise.all([large?.close(), modern?.close()])
})

describe('a client', { timeout: 40_000 }, () => {
  for (const [what, path, breach] of [
    ['DATA on the connection itself', '/large', frame(FRAME.data, 0, 0, Buffer.alloc(10))],
    ['DATA on a stream that it has ended', '/large', frame(FRAME.data, 0, 1, Buffer.alloc(10))],
    ['DATA behind an answer that waits', '/hello', frame(FRAME.data, 0, 1, Buffer.alloc(10))],
    ['garbage', '/large', Buffer.alloc(1_000, 0xff)],
  ] as const) {
    test(`that says goodbye and then sends ${what} is gone soon`, async () => {
      const connection = await openFrames(gateway.url, NO_WINDOW)
      await connection.next(({ type }) => type === FRAME.settings)
      connection.write(getFrame(1, path))
      await connection.next(({ type }) => type === FRAME.headers)
      connection.write(GOAWAY, breach)
      assert.notEqual(await connection.ended(), null)
    })
  }

  test('that takes its requests back in the same breath is no fault of the gateway', async () => {
    const connection = await openFrames(gateway.url)
    const ids = Array.from({ length: 30 }, (_, i) => 2 * i + 1)
    connection.write(...ids.flatMap(id => [getFrame(id, '/hello'), resetFrame(id, INTERNAL_ERROR)]))
    connection.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
    await connection.next(({ type, flags }) => type === FRAME.ping && flags === 1)
    assert.equal((await send(`${gateway.url}/hello`)).text, 'hello')
    assert.deepEqual(
      gateway.log.filter(({ level }) => level === 'critical'),
      [],
    )
    connection.socket.destroy()
  })

  test('that takes back answers it has not read is sent to another connection before it is refused', async () => {
    const connection = await openFrames(gateway.url, NO_WINDOW)
    const ids = Array.from({ length: 600 }, (_, i) => 2 * i + 1)
    const isGoodbye = ({ type }: Frame): boolean => type === FRAME.goaway
    for (const id of ids) {
      if (connection.frames.some(isGoodbye)) break
      connection.write(getFrame(id, '/large'))
      const { type } = await connection.next(each => each.stream === id || isGoodbye(each))
      assert.notEqual(type, FRAME.reset, `refused after ${id} requests`)
      connection.write(resetFrame(id, CANCEL))
    }
    assert.equal((await connection.next(isGoodbye)).payload.readUInt32BE(4), 0)
    assert.notEqual(await connection.ended(), null)
    assert.equal((await send(`${gateway.url}/hello`)).text, 'hello')
  })

  test('that sends a body byte by byte holds no more than the body', async () => {
    const resident = (): number =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) * 1024
    const connection = await openFrames(gateway.url)
    await connection.next(({ type }) => type === FRAME.settings)
    const post = section([
      [':method', 'POST'],
      [':scheme', 'http'],
      [':authority', 'gateway.test'],
      [':path', '/held'],
    ])
    // The first has the upstream's one connection, the others wait
    const ids = [1, 3, 5, 7]
    connection.write(...ids.map(id => frame(FRAME.headers, END_HEADERS, id, post)))
    const before = resident()
    for (const id of ids) {
      const byte = frame(FRAME.data, 0, id, Buffer.from('a'))
      connection.write(Buffer.concat(Array.from({ length: 150_000 }, () => byte)))
    }
    connection.write(frame(FRAME.ping, 0, 0, Buffer.alloc(8)))
    await connection.next(({ type, flags }) => type === FRAME.ping && flags === 1)
    const grown = resident() - before
    assert.ok(grown < 60 * MB, `${Math.round(grown / MB)} MB for 0.6 MB`)
    connection.socket.destroy()
  })
})

describe('an upstream', { timeout: 40_000 }, () => {
  test('that breaks a connection costs those that ran on it, and no request behind them', async () => {
    const running: ServerHttp2Session[] = []
    const broken = Promise.withResolvers<void>()
    serve = ({ session }) => {
      if (running.push(session) < 3) return
      serve = ({ stream }) => stream.respond({ ':status': 200 }, { endStream: true })
      // Each worker has a connection of its own
      for (const { socket } of new Set(running)) (socket as unknown as Socket).destroy()
      broken.resolve()
    }
    const post = () => send(`${gateway.url}/modern/x`, { method: 'POST', body: 'x' })
    const first = [post(), post(), post()]
    await broken.promise
    const later = await Promise.all([post(), post(), post()])
    assert.deepEqual(
      later.map(({ status }) => status),
      [200, 200, 200],
    )
    assert.deepEqual(
      (await Promise.all(first)).map(({ status }) => status),
      [502, 502, 502],
    )
  })
})
