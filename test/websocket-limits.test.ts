/** WebSockets that ask for too much: large frames, silence, and those who never read. Memory stays, others do not notice. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess, LogRecord } from './support/gateway.ts'
import { type RawEnd, type RawUpstream, rawPair, rawUpstream } from './support/raw-websocket.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'
import {
  BINARY,
  CLOSE,
  closeOf,
  type Frame,
  frame,
  framesOf,
  PING,
  TEXT,
} from './support/websocket-frames.ts'

const AUTHORIZATION = { Authorization: `Bearer ${token()}` }
const MEGABYTE = 1_048_576
const LIMIT = 65_536
const SEND_TIMEOUT = 2
const IDLE_TIMEOUT = 2

let gateway: GatewayProcess
let upstream: RawUpstream

before(async () => {
  upstream = await rawUpstream()
  gateway = await startConfigured({
    server: { sendTimeout: SEND_TIMEOUT },
    routes: [
      { path: '/live/*', upstream: upstream.url },
      { path: '/small/*', upstream: upstream.url, websocket: { maxFrameSize: LIMIT } },
      { path: '/idle/*', upstream: upstream.url, websocket: { idleTimeout: IDLE_TIMEOUT } },
      { path: '/flooded/*', upstream: upstream.url, websocket: { idleTimeout: 3 } },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await upstream?.close()
})

type Side = 'client' | 'upstream'
const SIDES: readonly Side[] = ['client', 'upstream']

const opened = (path: string): Promise<{ client: RawEnd; server: RawEnd }> =>
  rawPair(gateway, upstream, path, AUTHORIZATION)
const ended = (path: string): Promise<LogRecord> => gateway.logged(record => record.path === path)

/** The close frame that the gateway sent, which must be the last of all; to an upstream it is masked. */
async function goodbye(end: RawEnd, side: Side): Promise<{ code: number; reason: string }> {
  const last = await until('a close frame', () => end.frames().find(({ opcode }) => opcode === CLOSE))
  end.socket.end()
  assert.notEqual(await end.ended(), 'open')
  assert.deepEqual(end.frames().at(-1), last)
  assert.equal(last.masked, side === 'upstream')
  return closeOf(last)
}

/** Proves that another WebSocket of the same gateway is served. */
async function othersAreServed(): Promise<void> {
  const { client, server } = await opened('/live/other')
  server.send(frame(TEXT, 'unharmed'))
  assert.equal((await client.received(1))[0]?.payload.toString(), 'unharmed')
  client.socket.resetAndDestroy()
}

describe('a frame', () => {
  for (const side of SIDES) {
    const masked = side === 'client'
    test(`of the ${side} at the limit passes, and a message of many such frames too`, async () => {
      const { client, server } = await opened('/small/x')
      const [from, to] = side === 'client' ? [client, server] : [server, client]
      const payload = Buffer.alloc(LIMIT, side)
      from.send(frame(BINARY, payload, { masked, fin: false }))
      for (let count = 0; count < 8; count++) from.send(frame(0, payload, { masked, fin: count === 7 }))
      const frames = await to.received(9)
      assert.ok(frames.every((each: Frame) => each.payload.equals(payload)))
      client.socket.resetAndDestroy()
    })

    const bombs: [string, Buffer, number[]][] = [
      ['one byte over the limit', frame(BINARY, Buffer.alloc(LIMIT + 1), { masked }), [1009]],
      ['announcing 2^40 bytes', frame(BINARY, 'x', { masked, announce: 2n ** 40n }), [1009]],
      ['announcing 2^63 - 1 bytes', frame(BINARY, 'x', { masked, announce: 2n ** 63n - 1n }), [1009]],
      // RFC 6455 §5.2: that bit must be 0
      ['announcing 2^63 bytes', frame(BINARY, 'x', { masked, announce: 2n ** 63n }), [1002, 1009]],
      ['announcing 2^64 - 1 bytes', frame(TEXT, 'x', { masked, announce: 2n ** 64n - 1n }), [1002, 1009]],
    ]
    for (const [what, bytes, codes] of bombs) {
      test(`of the ${side} ${what} ends the connection`, async () => {
        const path = `/small/${side}-${what.replaceAll(/\W/g, '')}`
        const { client, server } = await opened(path)
        const [from, to] = side === 'client' ? [client, server] : [server, client]
        const first = frame(TEXT, 'before it', { masked })
        from.send(first, bytes)
        for (const [end, own] of [
          [client, 'client'],
          [server, 'upstream'],
        ] as const) {
          const { code, reason } = await goodbye(end, own)
          assert.ok(codes.includes(code), `${own} heard ${code}`)
          assert.notEqual(reason, '')
        }
        assert.equal(to.frames()[0]?.payload.toString(), 'before it')
        assert.equal(to.frames().length, 2, 'nothing of the frame passed')
        const line = await ended(path)
        assert.equal(line.ended, 'frame_too_large')
        assert.ok(codes.includes(Number(line.close_code)))
      })
    }

    test(`of the ${side} whose length comes byte by byte is judged all the same`, async () => {
      const path = `/small/${side}-byte-by-byte`
      const { client, server } = await opened(path)
      const [from, to] = side === 'client' ? [client, server] : [server, client]
      const bomb = frame(BINARY, '', { masked, announce: 2n ** 33n })
      for (const byte of bomb) await new Promise(resolve => from.socket.write(Buffer.from([byte]), resolve))
      // The frame may have begun on the other side: then nothing can be said there any more
      if (side === 'client') assert.equal((await goodbye(client, 'client')).code, 1009)
      assert.notEqual(await to.ended(), 'open')
      from.socket.end()
      assert.equal((await ended(path)).ended, 'frame_too_large')
      const rest = to.bytes()
      assert.ok(bomb.subarray(0, rest.length).equals(rest) || framesOf(rest).rest.length === 0)
    })
  }

  test('that is too large passes no part of itself on while the goodbye must wait', async () => {
    const path = '/small/waiting'
    const { client, server } = await opened(path)
    const large = frame(BINARY, Buffer.alloc(LIMIT, 'large'))
    server.send(large.subarray(0, 1_000))
    await client.receivedBytes(1_000)
    // No close frame can reach the client now. What follows is payload, whatever it looks like
    client.send(frame(BINARY, 'x', { masked: true, announce: 1_000_000n }))
    client.send(frame(TEXT, 'of the payload', { masked: true }))
    await delay(100)
    client.send(frame(TEXT, 'of the payload, too', { masked: true }))
    await delay(100)
    server.send(large.subarray(1_000))
    assert.deepEqual(
      [await goodbye(client, 'client'), client.frames().length],
      [{ code: 1009, reason: 'frame too large' }, 2],
    )
    assert.notEqual(await server.ended(), 'open')
    assert.deepEqual(
      server.frames().map(({ opcode }) => opcode),
      [CLOSE],
    )
    assert.equal((await ended(path)).ended, 'frame_too_large')
  })

  test('that is too large ends only its own connection', othersAreServed)
})

/** Writes frames until `limit` bytes were taken or the connection has gone; gives the bytes that were taken. */
function flood({ socket }: RawEnd, masked: boolean, limit: number): { taken: () => number; stop(): void } {
  const bytes = frame(BINARY, Buffer.alloc(60_000, 'flood'), { masked })
  let taken = 0
  let stopped = false
  const next = (): void => {
    if (stopped || socket.destroyed || taken >= limit) return
    socket.write(bytes, error => {
      if (error) return
      taken += bytes.length
      next()
    })
  }
  next()
  return {
    taken: () => taken,
    stop() {
      stopped = true
    },
  }
}

describe('silence', { concurrency: true }, () => {
  test('longer than the limit ends both sides with 1001', async () => {
    const { client, server } = await opened('/idle/silent')
    const started = performance.now()
    const [own, others] = await Promise.all([goodbye(client, 'client'), goodbye(server, 'upstream')])
    assert.deepEqual([own.code, others.code], [1001, 1001])
    assert.notEqual(own.reason, '')
    // As timers may be early by one millisecond
    assert.ok(performance.now() - started > IDLE_TIMEOUT * 950)
    const line = await ended('/idle/silent')
    assert.deepEqual([line.ended, line.close_code, line.status_code], ['idle_timeout', 1001, 101])
  })

  for (const side of SIDES) {
    test(`is broken by a ping of the ${side} alone`, async () => {
      const { client, server } = await opened(`/idle/pinged-${side}`)
      const [from, to] = side === 'client' ? [client, server] : [server, client]
      for (let count = 1; count <= 12; count++) {
        from.send(frame(PING, '', { masked: side === 'client' }))
        await to.received(count)
        await delay(200)
      }
      assert.equal(client.frames().at(-1)?.opcode, side === 'client' ? undefined : PING)
      assert.equal((await goodbye(client, 'client')).code, 1001)
      server.socket.destroy()
    })
  }

  test('is not what a slow reader keeps: a client that reads little, but reads, stays', async () => {
    const { client, server } = await opened('/live/slow')
    const { stop } = flood(server, false, 128 * MEGABYTE)
    const end = performance.now() + SEND_TIMEOUT * 2_000
    // The system tells the gateway of room only once a third of its buffer of some MB is free: that is a step here
    for (let wanted = 0; performance.now() < end; ) {
      wanted += 2 * MEGABYTE
      client.socket.resume()
      await client.receivedBytes(wanted)
      client.socket.pause()
      await delay(200)
    }
    stop()
    client.socket.resume()
    server.send(frame(TEXT, 'still here'))
    await client.ending('still here')
    client.socket.resetAndDestroy()
  })

  test('of those who do not answer a goodbye is not waited for long', async () => {
    const { client, server } = await opened('/idle/deaf')
    assert.notEqual(await client.ended(), 'open')
    assert.notEqual(await server.ended(), 'open')
    for (const end of [client, server]) assert.equal(end.frames().at(-1)?.opcode, CLOSE)
    assert.equal((await ended('/idle/deaf')).close_code, 1001)
  })
})

describe('a flood', () => {
  const resident = (): number =>
    Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) * 1024

  /** The most memory over `base` until `over` settles. */
  async function growth<T>(base: number, over: Promise<T>): Promise<{ result: T; most: number }> {
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, resident() - base)
    }, 20)
    try {
      return { result: await over, most }
    } finally {
      clearInterval(timer)
    }
  }

  test('is as fast as its reader, and whole', async () => {
    const { client, server } = await opened('/live/whole')
    const { taken } = flood(server, false, 40 * MEGABYTE)
    await client.receivedBytes(40 * MEGABYTE, 20_000)
    await until('all is there', () => client.bytes().length === taken())
    assert.ok(client.frames().every(({ payload }) => payload.length === 60_000))
    client.socket.resetAndDestroy()
  })

  test('to a client that never reads stops, and cuts it with a reason', async () => {
    const { client, server } = await opened('/live/never-reads')
    client.socket.pause()
    const base = resident()
    const { taken } = flood(server, false, 256 * MEGABYTE)
    const started = performance.now()
    const { result: line, most } = await growth(base, ended('/live/never-reads'))
    assert.equal(line.ended, 'slow_client')
    assert.equal(line.status_code, 101)
    assert.ok(performance.now() - started > SEND_TIMEOUT * 900)
    assert.ok(most < 32 * MEGABYTE, `grew by ${most}`)
    assert.ok(taken() > MEGABYTE && taken() < 128 * MEGABYTE, `took ${taken()}`)
    assert.notEqual(await server.ended(), 'open')
    client.socket.resume()
    assert.notEqual(await client.ended(), 'open')
    await othersAreServed()
  })

  test('to an upstream that never reads stops, and the connection ends with a reason', async () => {
    const { client, server } = await opened('/flooded/never-reads')
    server.socket.pause()
    const base = resident()
    const { taken } = flood(client, true, 256 * MEGABYTE)
    const { result: line, most } = await growth(base, ended('/flooded/never-reads'))
    assert.ok(line.ended === 'idle_timeout' || line.code === 'upstream_timeout', JSON.stringify(line))
    assert.ok(most < 32 * MEGABYTE, `grew by ${most}`)
    assert.ok(taken() > MEGABYTE && taken() < 128 * MEGABYTE, `took ${taken()}`)
    assert.notEqual(await client.ended(), 'open')
    server.socket.destroy()
    await othersAreServed()
  })
})
