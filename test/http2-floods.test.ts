/** Clients that use HTTP/2 against the gateway: they are sent away, and nobody else notices. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import type { ClientHttp2Session } from 'node:http2'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { goodbyeOf, openSession, request } from './support/http2-client.ts'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  type FrameConnection,
  frame,
  get,
  getFrame,
  openFrames,
  PREFACE,
  resetFrame,
  section,
  settings,
} from './support/http2-frames.ts'
import { until } from './support/until.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const REFUSED_STREAM = 7
const CANCEL = 8
const ENHANCE_YOUR_CALM = 11
const INITIAL_WINDOW_SIZE = 4

const LARGE = 4 * 1024 ** 2

/** Answers `/large` with 4 MiB, everything else never. */
function serve(): Promise<RecordingUpstream> {
  return recordingUpstream(({ target, socket }) => {
    if (target !== '/large') return
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`)
    socket.write(Buffer.alloc(LARGE))
  })
}

const odd = (i: number): number => 2 * i + 1
const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i))

/** Resident memory of a process, MiB. */
function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

describe('a flood', () => {
  let gateway: GatewayProcess
  let upstream: RecordingUpstream
  let bystander: ClientHttp2Session
  const connections: FrameConnection[] = []

  async function open(first?: Buffer): Promise<FrameConnection> {
    const connection = await openFrames(gateway.url, first)
    connections.push(connection)
    return connection
  }

  before(async () => {
    upstream = await serve()
    gateway = await startConfigured({
      server: { http2: { cleartext: true, maxStreams: 20, maxResets: 30 } },
      routes: [
        { path: '/hello', auth: 'none', respond: { body: 'hello' } },
        { path: '/*', auth: 'none', upstream: upstream.url },
      ],
    })
    bystander = await openSession(gateway.url)
  })
  after(async () => {
    bystander?.destroy()
    for (const { socket } of connections) socket.destroy()
    await gateway?.stop()
    await upstream?.close()
  })

  /** Has all of them sent, and the server's goodbye, while somebody else goes on asking. */
  async function flood(connection: FrameConnection, frames: readonly Buffer[]): Promise<number | null> {
    connection.write(...frames)
    const goodbye = connection.ended()
    for (const _ of times(20, () => 0))
      assert.equal((await request(bystander, { ':path': '/hello' })).text, 'hello')
    return goodbye
  }

  test('of requests that are taken back ends with its connection, and leaves nothing at the upstream', async () => {
    const connection = await open()
    const goodbye = await flood(
      connection,
      times(400, i => [getFrame(odd(i), '/silent'), resetFrame(odd(i), CANCEL)]).flat(),
    )
    assert.equal(goodbye, ENHANCE_YOUR_CALM)
    await gateway.logged(
      ({ event, reason }) => event === 'HTTP/2 connection closed' && /taken back/.test(String(reason)),
    )
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
  })

  test('of requests taken back one by one, each after it has reached the upstream, ends as well', async () => {
    const connection = await open()
    let goodbye: number | null | undefined
    const ended = connection.ended().then(code => {
      goodbye = code
    })
    // On a busy machine the second may end before there are too many: then the next one counts.
    for (let i = 0; goodbye === undefined && i < 2_000; i++) {
      const next = upstream.next()
      connection.write(getFrame(odd(i), `/one-by-one/${i}`))
      await Promise.race([next, ended])
      connection.write(resetFrame(odd(i), 0))
    }
    await ended
    assert.equal(goodbye, ENHANCE_YOUR_CALM)
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
  })

  test('of requests that the gateway has to break off is one of them', async () => {
    const connection = await open()
    const tooMuch = Buffer.alloc(4)
    tooMuch.writeUInt32BE(0x7fffffff)
    const goodbye = await flood(
      connection,
      times(200, i => [getFrame(odd(i), '/silent'), frame(FRAME.windowUpdate, 0, odd(i), tooMuch)]).flat(),
    )
    // For its resets, or for the frame that broke a window
    assert.ok(goodbye !== null && goodbye !== 0, `${goodbye}`)
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
  })

  for (const [what, bytes] of [
    ['PING', frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', settings()],
  ] as const) {
    test(`of ${what} frames ends with its connection`, async () => {
      const connection = await open()
      assert.equal(
        await flood(
          connection,
          times(5_000, () => bytes),
        ),
        ENHANCE_YOUR_CALM,
      )
    })

    test(`of ${what} frames whose answers nobody reads ends as well`, async () => {
      const connection = await open()
      connection.socket.pause()
      const before = memoryOf(gateway.child.pid!)
      const closed = new Promise(resolve => connection.socket.once('error', resolve).once('close', resolve))
      for (const _ of times(50, () => 0)) connection.write(...times(1_000, () => bytes))
      connection.socket.resume()
      await closed
      assert.ok(memoryOf(gateway.child.pid!) - before < 40)
      assert.equal((await request(bystander, { ':path': '/hello' })).text, 'hello')
    })
  }

  test('of CONTINUATION frames ends with its connection', async () => {
    const connection = await open()
    const more = section([['x-more', 'x'.repeat(1_000)]])
    const goodbye = await flood(connection, [
      frame(FRAME.headers, END_STREAM, 1, get('/hello')),
      ...times(2_000, () => frame(FRAME.continuation, 0, 1, more)),
    ])
    assert.ok(goodbye !== null && goodbye !== 0, `${goodbye}`)
    assert.ok(!connection.frames.some(({ type, stream }) => type === FRAME.headers && stream === 1))
  })

  test('of empty CONTINUATION frames ends with its connection', async () => {
    const connection = await open()
    const goodbye = await flood(connection, [
      frame(FRAME.headers, END_STREAM, 1, get('/hello')),
      ...times(5_000, () => frame(FRAME.continuation, 0, 1)),
    ])
    assert.ok(goodbye !== null && goodbye !== 0, `${goodbye}`)
  })

  test('of fields that unpack to many times their size is cut off', async () => {
    const connection = await open()
    // Put into the table once (RFC 7541 §6.2.1), then named by one byte as often as fits
    const entry = Buffer.concat([Buffer.of(0x40), section([['x-bomb', 'x'.repeat(3_000)]]).subarray(1)])
    const bomb = Buffer.concat([get('/silent'), entry, Buffer.alloc(10_000, 0xbe)])
    const before = memoryOf(gateway.child.pid!)
    connection.write(frame(FRAME.headers, END_STREAM | END_HEADERS, 1, bomb))
    const { type, payload } = await connection.next(
      ({ stream, type }) => stream === 1 || type === FRAME.goaway,
    )
    assert.ok(type === FRAME.reset || type === FRAME.goaway)
    assert.equal(payload.readUInt32BE(type === FRAME.reset ? 0 : 4), ENHANCE_YOUR_CALM)
    assert.ok(memoryOf(gateway.child.pid!) - before < 30)
    assert.equal((await request(bystander, { ':path': '/hello' })).text, 'hello')
  })

  test('of empty DATA frames ends with its connection', async () => {
    const connection = await open()
    const head = section([
      [':method', 'POST'],
      [':scheme', 'http'],
      [':authority', 'gateway.test'],
      [':path', '/silent'],
    ])
    const goodbye = await flood(connection, [
      frame(FRAME.headers, END_HEADERS, 1, head),
      ...times(5_000, () => frame(FRAME.data, 0, 1)),
    ])
    assert.ok(goodbye !== null && goodbye !== 0, `${goodbye}`)
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
  })

  test('of requests beyond those that may be open at a time is refused one by one', async () => {
    const connection = await open()
    await connection.next(({ type }) => type === FRAME.settings)
    connection.write(...times(20, i => getFrame(odd(i), '/silent')))
    // Served requests do not count any more
    await until('all have reached the upstream', () => upstream.sockets.size === 20)
    connection.write(getFrame(odd(20), '/silent'))
    const last = await connection.next(({ type, stream }) => type === FRAME.goaway || stream === odd(20))
    assert.ok(last.type === FRAME.goaway || last.payload.readUInt32BE() === REFUSED_STREAM)
    assert.equal(upstream.sockets.size <= 20, true)
    connection.socket.destroy()
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
  })

  test('of bytes that are no frames ends with its connection', async () => {
    for (const bytes of [
      Buffer.alloc(10_000, 0xff),
      frame(FRAME.data, 0, 0, Buffer.from('x')),
      frame(FRAME.settings, 0, 1),
      frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(4)),
      frame(FRAME.headers, END_STREAM | END_HEADERS, 2, get('/hello')),
      frame(FRAME.headers, END_STREAM | END_HEADERS, 1, Buffer.alloc(50, 0xff)),
    ]) {
      const connection = await open()
      const goodbye = await flood(connection, [bytes])
      assert.ok(
        goodbye !== null && goodbye !== 0,
        `${goodbye} after ${bytes.subarray(0, 12).toString('hex')}`,
      )
    }
  })
})

describe('a client over HTTP/2 that takes its time', () => {
  let gateway: GatewayProcess
  let upstream: RecordingUpstream

  before(async () => {
    upstream = await serve()
    gateway = await startConfigured({
      server: {
        http2: { cleartext: true },
        headerTimeout: '500ms',
        keepAliveTimeout: '700ms',
        sendTimeout: '1s',
      },
      routes: [
        { path: '/hello', auth: 'none', respond: { body: 'hello' } },
        { path: '/*', auth: 'none', upstream: upstream.url },
      ],
    })
  })
  after(async () => {
    await gateway?.stop()
    await upstream?.close()
  })

  for (const [what, bytes] of [
    ['with the first half of its preface', PREFACE.subarray(0, 10)],
    ['with what follows the preface', PREFACE],
    [
      'with the first half of a section',
      Buffer.concat([PREFACE, settings(), getFrame(1, '/hello').subarray(0, 20)]),
    ],
  ] as const) {
    test(`${what} is cut off`, async () => {
      const socket = net.connect(gateway.port, '127.0.0.1')
      socket.on('error', () => {})
      socket.resume()
      const closed = new Promise(resolve => socket.once('close', resolve))
      socket.write(bytes)
      await closed
    })
  }

  test('to ask again is told goodbye', async () => {
    const session = await openSession(gateway.url)
    assert.equal((await request(session, { ':path': '/hello' })).status, 200)
    assert.equal(await goodbyeOf(session), 0)
  })

  test('and never opens its window gets its streams reset, for bounded memory', async () => {
    const before = memoryOf(gateway.child.pid!)
    const connection = await openFrames(gateway.url, settings([[INITIAL_WINDOW_SIZE, 0]]))
    const asked = upstream.requests.length
    connection.write(...times(100, i => getFrame(odd(i), '/large')))
    // Not all at a time: on a busy machine the first are given up before the last are sent
    await until('the upstream is asked', () => upstream.requests.length === asked + 100)
    for (const i of [0, 50, 99]) {
      const { payload } = await connection.next(
        ({ type, stream }) => type === FRAME.reset && stream === odd(i),
      )
      assert.equal(payload.readUInt32BE(), CANCEL)
    }
    assert.ok(memoryOf(gateway.child.pid!) - before < 100, `${memoryOf(gateway.child.pid!) - before} MiB`)
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
    const line = await gateway.logged(({ path }) => path === '/large')
    assert.deepEqual([line.outcome, line.code], ['client_gone', 'client_gone'])
    connection.socket.destroy()
  })

  test('and never reads at all loses its connection', async () => {
    const connection = await openFrames(gateway.url, settings([[INITIAL_WINDOW_SIZE, 2 ** 31 - 1]]))
    connection.socket.pause()
    const wide = Buffer.alloc(4)
    wide.writeUInt32BE(2 ** 31 - 65_536)
    const asked = upstream.requests.length
    connection.write(frame(FRAME.windowUpdate, 0, 0, wide), ...times(20, i => getFrame(odd(i), '/large')))
    await until('the upstream is asked', () => upstream.requests.length === asked + 20)
    await until('the upstream is left alone', () => upstream.sockets.size === 0)
    connection.socket.resume()
    await connection.ended(10_000)
  })
})
