/** Behind the handshake both sides see the same bytes as without the gateway: frames, ends, and what came early. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { bearer } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess, LogRecord } from './support/gateway.ts'
import { type RawEnd, type RawUpstream, rawClient, rawPair, rawUpstream } from './support/raw-websocket.ts'
import { token } from './support/token.ts'
import {
  BINARY,
  CLOSE,
  closeFrame,
  frame,
  handshake,
  PING,
  PONG,
  switching,
  TEXT,
} from './support/websocket-frames.ts'

const AUTHORIZATION = { Authorization: `Bearer ${token()}` }
const EARLY = Buffer.concat([frame(TEXT, 'right behind the yes'), frame(PING, 'early')])

let gateway: GatewayProcess
let upstream: RawUpstream
/** Says yes and more in one write. */
let eager: RawUpstream

before(async () => {
  upstream = await rawUpstream()
  eager = await rawUpstream({ answer: head => Buffer.concat([Buffer.from(switching(head)), EARLY]) })
  gateway = await startConfigured({
    routes: [
      { path: '/live/*', upstream: upstream.url },
      { path: '/eager', upstream: eager.url },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await Promise.all([upstream?.close(), eager?.close()])
})

const opened = (path = '/live/bytes'): Promise<{ client: RawEnd; server: RawEnd }> =>
  rawPair(gateway, upstream, path, AUTHORIZATION)

const ended = (path: string): Promise<LogRecord> => gateway.logged(record => record.path === path)

/** One of each class, as a client (masked) or a server sends them. None of them closes. */
function everyClass(masked: boolean): Buffer[] {
  const of = (opcode: number, payload: string | Buffer = '', options = {}): Buffer =>
    frame(opcode, payload, { masked, ...options })
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]
  return [
    ...sizes.flatMap(size => [of(TEXT, 'x'.repeat(size)), of(BINARY, randomBytes(size))]),
    ...[0, 1, 125].flatMap(size => [of(PING, randomBytes(size)), of(PONG, randomBytes(size))]),
    // A message in fragments, with control frames between them
    of(TEXT, 'first', { fin: false }),
    of(PING, 'between'),
    of(0, 'second', { fin: false }),
    of(0, '', { fin: false }),
    of(PONG, 'unasked'),
    of(0, 'last'),
    // Longer length fields than needed, extension bits, reserved opcodes, text that is none: for the ends to judge
    of(BINARY, 'short', { lengthBytes: 2 }),
    of(BINARY, 'short', { lengthBytes: 8 }),
    of(TEXT, randomBytes(50), { rsv: 4 }),
    of(BINARY, 'all of them', { rsv: 7 }),
    ...[3, 7, 11, 15].map(opcode => of(opcode, 'reserved')),
    of(TEXT, Buffer.from([0xff, 0xfe, 0xc0, 0x80])),
  ]
}

describe('every class of frame', () => {
  for (const direction of ['up', 'down'] as const) {
    test(`passes unchanged, ${direction}`, async () => {
      const { client, server } = await opened()
      const [from, to] = direction === 'up' ? [client, server] : [server, client]
      const sent = Buffer.concat(everyClass(direction === 'up'))
      from.send(sent)
      assert.ok((await to.receivedBytes(sent.length)).equals(sent))
      client.socket.destroy()
    })

    test(`passes unchanged when it comes byte by byte, ${direction}`, async () => {
      const { client, server } = await opened()
      const [from, to] = direction === 'up' ? [client, server] : [server, client]
      const sent = Buffer.concat(everyClass(direction === 'up').filter(({ length }) => length < 200))
      for (const byte of sent) {
        // A packet of its own for each
        await new Promise(resolve => from.socket.write(Buffer.from([byte]), resolve))
      }
      assert.ok((await to.receivedBytes(sent.length)).equals(sent))
      client.socket.destroy()
    })
  }

  test('is delivered before the message that it belongs to is whole', async () => {
    const { client, server } = await opened()
    server.send(frame(TEXT, 'an unfinished', { fin: false }))
    await client.received(1)
    const large = frame(BINARY, randomBytes(50_000))
    server.send(large.subarray(0, 20_000))
    await client.receivedBytes(frame(TEXT, 'an unfinished').length + 20_000)
    client.socket.destroy()
  })
})

describe('what comes early', () => {
  test('frames right behind the handshake reach the upstream, and nothing of them is lost', async () => {
    const frames = Buffer.concat([
      frame(TEXT, 'too early', { masked: true }),
      frame(BINARY, randomBytes(100_000), { masked: true }),
    ])
    const request = Buffer.from(handshake('/live/early', AUTHORIZATION))
    const client = await rawClient(gateway.port, Buffer.concat([request, frames]))
    const server = await upstream.next()
    assert.ok((await server.receivedBytes(frames.length)).equals(frames))
    assert.match(await client.heard(), /^HTTP\/1\.1 101 /)
    server.send(frame(TEXT, 'in time'))
    assert.equal((await client.received(1))[0]?.payload.toString(), 'in time')
    client.socket.destroy()
  })

  test('frames right behind the yes of the upstream reach the client', async () => {
    const { client, server } = await rawPair(gateway, eager, '/eager', AUTHORIZATION)
    assert.ok((await client.receivedBytes(EARLY.length)).equals(EARLY))
    client.send(frame(PONG, 'early', { masked: true }))
    assert.equal((await server.received(1))[0]?.opcode, PONG)
    client.socket.destroy()
  })

  test('a handshake behind another request on the same connection is taken', async () => {
    const first = `GET /health HTTP/1.1\r\nHost: gateway.test\r\n\r\n`
    const client = await rawClient(gateway.port, first)
    assert.match(await client.heard(), /^HTTP\/1\.1 200 /)
    await client.receivedBytes('{"status":"healthy","service":"Nyro API Gateway"}'.length)
    client.send(handshake('/live/second', AUTHORIZATION))
    const server = await upstream.next()
    server.send(frame(TEXT, 'after a request'))
    await client.ending('after a request')
    assert.match(client.bytes().toString('latin1'), /HTTP\/1\.1 101 /)
    client.socket.destroy()
  })
})

describe('the end of one side', () => {
  test('a client that half-closes still hears the upstream, until that ends too', async () => {
    const { client, server } = await opened('/live/half-client')
    client.socket.end(frame(TEXT, 'my last word', { masked: true }))
    assert.equal((await server.received(1))[0]?.payload.toString(), 'my last word')
    assert.equal(await server.ended(), 'fin')
    const answer = frame(BINARY, randomBytes(300_000))
    server.socket.end(answer)
    assert.ok((await client.receivedBytes(answer.length)).equals(answer))
    assert.equal(await client.ended(), 'fin')
  })

  test('an upstream that half-closes still hears the client, until that ends too', async () => {
    const { client, server } = await opened('/live/half-upstream')
    server.socket.end(frame(TEXT, 'my last word'))
    assert.equal((await client.received(1))[0]?.payload.toString(), 'my last word')
    assert.equal(await client.ended(), 'fin')
    const answer = frame(BINARY, randomBytes(300_000), { masked: true })
    client.socket.end(answer)
    assert.ok((await server.receivedBytes(answer.length)).equals(answer))
    assert.equal(await server.ended(), 'fin')
  })

  for (const side of ['client', 'upstream'] as const) {
    test(`a reset of the ${side} ends the other`, async () => {
      const path = `/live/reset-${side}`
      const { client, server } = await opened(path)
      const [leaving, left] = side === 'client' ? [client, server] : [server, client]
      leaving.socket.resetAndDestroy()
      assert.notEqual(await left.ended(), 'open')
      assert.equal(left.bytes().length, 0)
      assert.equal((await ended(path)).status_code, 101)
    })
  }

  test('in the middle of a frame delivers what there was of it', async () => {
    const { client, server } = await opened()
    const half = frame(BINARY, randomBytes(10_000)).subarray(0, 5_000)
    server.socket.end(half)
    assert.ok((await client.receivedBytes(half.length)).equals(half))
    assert.equal(await client.ended(), 'fin')
    client.socket.destroy()
  })
})

describe('the access line', () => {
  test('comes once, at the end, and counts the bytes of both sides', async () => {
    const path = '/live/counted'
    const { client, server } = await opened(path)
    const up = [
      frame(TEXT, 'eleven', { masked: true }),
      frame(BINARY, randomBytes(70_000), { masked: true }),
      closeFrame(4123, 'counted', { masked: true }),
    ]
    const down = [frame(TEXT, 'a'), frame(BINARY, randomBytes(3_000)), closeFrame(4123)]
    const [upBytes, downBytes] = [up, down].map(frames => Buffer.concat(frames).length) as [number, number]
    client.send(...up)
    await server.receivedBytes(upBytes)
    assert.equal(
      gateway.log.find(record => record.path === path),
      undefined,
    )
    server.send(...down)
    await client.receivedBytes(downBytes)
    server.socket.end()
    client.socket.end()
    const line = await ended(path)
    assert.equal(line.event, 'Request processed')
    assert.equal(line.level, 'info')
    assert.equal(line.method, 'GET')
    assert.equal(line.status_code, 101)
    assert.equal(line.outcome, 'answered')
    assert.equal(line.close_code, 4123)
    assert.equal(line.company_id, 'acme')
    assert.equal(line.user_id, '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11')
    assert.equal(line.upstream, upstream.url)
    assert.equal(line.ended, undefined)
    assert.equal(line.bytes_received, upBytes)
    assert.equal(line.bytes_sent, downBytes)
    assert.ok(Number(line.duration) > 0)
    assert.equal(gateway.log.filter(record => record.path === path).length, 1)
  })

  for (const [side, code] of [
    ['client', 1000],
    ['upstream', 1011],
  ] as const) {
    test(`has the close code of the ${side}, who said it first`, async () => {
      const path = `/live/first-${side}`
      const { client, server } = await opened(path)
      const goodbye = closeFrame(code, 'first', { masked: side === 'client' })
      const [first, second] = side === 'client' ? [client, server] : [server, client]
      first.send(goodbye)
      assert.equal((await second.received(1))[0]?.opcode, CLOSE)
      second.send(closeFrame(4444, 'second', { masked: side === 'upstream' }))
      await first.received(1)
      server.socket.end()
      client.socket.end()
      assert.equal((await ended(path)).close_code, code)
    })
  }

  test('holds nothing of the token or of what was said', async () => {
    const { client, server } = await opened('/live/secret')
    client.send(frame(TEXT, 'a secret word'))
    await server.received(1)
    client.socket.resetAndDestroy()
    await ended('/live/secret')
    const log = JSON.stringify(gateway.log)
    assert.ok(log.includes('/live/secret'))
    assert.ok(!log.includes('a secret word'))
    assert.ok(!log.includes(bearer(token()).authorization!.slice(7, 40)))
  })
})
