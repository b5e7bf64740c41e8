/** A WebSocket ends with its right to exist: the token's time, the session, the user, the company, the gateway itself. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess, LogRecord } from './support/gateway.ts'
import { type RawEnd, type RawUpstream, rawPair, rawUpstream } from './support/raw-websocket.ts'
import { type ClaimSet, claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, type Peer, pair, type SocketService, socketService } from './support/websocket.ts'
import { BINARY, CLOSE, closeOf, frame, framesOf, TEXT } from './support/websocket-frames.ts'

/** Seconds by which the gateway of these tests believes clocks to differ. */
const LEEWAY = 1

let gateway: GatewayProcess
let service: SocketService
let raw: RawUpstream

before(async () => {
  service = await socketService()
  raw = await rawUpstream()
  gateway = await startConfigured(
    {
      identity: { leeway: LEEWAY },
      routes: [
        { path: '/live/*', upstream: service.url },
        { path: '/custom/*', upstream: service.url, websocket: { closeCode: 3456 } },
        { path: '/raw/*', upstream: raw.url },
        { path: '/open/*', auth: 'none', upstream: service.url },
      ],
    },
    { GATEWAY_ADMIN_PORT: '0' },
  )
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await Promise.all([service?.close(), raw?.close()])
})

const opened = (path: string, signed: string) => pair(gateway.url + path, service, { token: signed })
const openedRaw = (path: string, signed: string): Promise<{ client: RawEnd; server: RawEnd }> =>
  rawPair(gateway, raw, path, { Authorization: `Bearer ${signed}` })
const ended = (path: string): Promise<LogRecord> => gateway.logged(record => record.path === path)

/** A token that ends `seconds` from now, half a second more or less, and when its right ends in milliseconds. */
function shortToken(seconds: number): { signed: string; end: number } {
  const exp = Math.round(Date.now() / 1000) + seconds
  return { signed: token(claims({ exp })), end: (exp + LEEWAY) * 1_000 }
}

describe('the end of the token', { concurrency: true }, () => {
  for (const [path, code] of [
    ['/live/expiring', 4401],
    ['/custom/expiring', 3456],
  ] as const) {
    test(`closes ${path} with ${code} and a reason on both sides, at its time`, async () => {
      const { signed, end } = shortToken(2)
      const { client, server } = await opened(path, signed)
      client.socket.send('before')
      await server.received(1)
      const [own, others] = await Promise.all([client.closed(), server.closed()])
      const late = Date.now() - end
      assert.deepEqual([own.code, others.code], [code, code])
      assert.match(own.reason, /expired/i)
      assert.ok(late > -20, `${-late} ms too early`)
      assert.ok(late < 3_000, `${late} ms too late`)
      const line = await ended(path)
      assert.deepEqual([line.ended, line.close_code, line.status_code], ['token_expired', code, 101])
    })
  }

  test('comes however busy the socket is', async () => {
    const { signed } = shortToken(2)
    const { client, server } = await opened('/live/busy', signed)
    const timer = setInterval(() => {
      server.socket.send('tick')
      client.socket.send('tock')
    }, 5)
    try {
      assert.equal((await client.closed()).code, 4401)
      assert.equal((await server.closed()).code, 4401)
    } finally {
      clearInterval(timer)
    }
  })

  test('does not come where no token was needed', async () => {
    const { client, server } = await pair(`${gateway.url}/open/x`, service, { token: null })
    const { signed } = shortToken(1)
    const expiring = await opened('/live/control', signed)
    assert.equal((await expiring.client.closed()).code, 4401)
    server.socket.send('still here')
    assert.equal((await client.received(1))[0]?.data.toString(), 'still here')
    client.socket.close()
  })

  test('cuts a client that does not answer the goodbye', async () => {
    const { signed } = shortToken(1)
    const { client, server } = await openedRaw('/raw/deaf', signed)
    const last = (end: RawEnd) =>
      until('a goodbye', () => end.frames().find(({ opcode }) => opcode === CLOSE))
    assert.equal(closeOf(await last(client)).code, 4401)
    assert.equal(closeOf(await last(server)).code, 4401)
    assert.notEqual(await client.ended(), 'open')
    assert.notEqual(await server.ended(), 'open')
  })

  test('waits for a frame that the upstream has begun', async () => {
    const { signed, end } = shortToken(1)
    const { client, server } = await openedRaw('/raw/down', signed)
    const payload = randomBytes(300_000)
    const large = frame(BINARY, payload)
    await slowly(server, large, end + 500)
    const frames = await client.received(2)
    assert.ok(frames[0]!.payload.equals(payload))
    assert.equal(closeOf(frames[1]!).code, 4401)
    assert.notEqual(await client.ended(), 'open')
    assert.equal(client.bytes().length, large.length + 2 + frames[1]!.payload.length)
  })

  test('says nothing within a frame that the client has begun', async () => {
    const { signed, end } = shortToken(1)
    const { client, server } = await openedRaw('/raw/up', signed)
    const large = frame(BINARY, randomBytes(300_000), { masked: true })
    await slowly(client, large, end + 500)
    assert.equal(closeOf((await client.received(1))[0]!).code, 4401)
    assert.notEqual(await server.ended(), 'open')
    const seen = server.bytes()
    const { frames, rest } = framesOf(seen)
    if (frames.length === 0) assert.ok(large.subarray(0, rest.length).equals(rest))
    else {
      assert.ok(seen.subarray(0, large.length).equals(large))
      assert.deepEqual(frames.slice(1).map(closeOf), [{ code: 4401, reason: 'token expired' }])
    }
  })

  test('may come between two fragments of a message', async () => {
    const { signed } = shortToken(1)
    const { client, server } = await openedRaw('/raw/fragments', signed)
    server.send(frame(TEXT, 'never', { fin: false }))
    const frames = await client.received(2)
    assert.equal(closeOf(frames[1]!).code, 4401)
    server.send(frame(0, ' finished'))
    assert.notEqual(await client.ended(), 'open')
    assert.equal(client.frames().length, 2)
  })

  test('that comes while nobody takes the frame begun cuts the connection', async () => {
    const { signed } = shortToken(1)
    const { client, server } = await openedRaw('/raw/unfinished', signed)
    const begun = frame(BINARY, Buffer.alloc(1_000)).subarray(0, 500)
    server.send(begun)
    assert.notEqual(await client.ended(), 'open')
    assert.ok(client.bytes().equals(begun))
    assert.equal((await ended('/raw/unfinished')).ended, 'token_expired')
  })

  for (const side of ['client', 'upstream'] as const) {
    test(`is still heard by the ${side} that has ended its own half`, async () => {
      const path = `/raw/half-${side}`
      const { signed } = shortToken(2)
      const { client, server } = await openedRaw(path, signed)
      const [gone, left] = side === 'client' ? [client, server] : [server, client]
      gone.socket.end()
      assert.equal(await left.ended(), 'fin')
      const [listening, from] = side === 'client' ? [client, server] : [server, client]
      from.send(frame(TEXT, 'meanwhile', { masked: side === 'upstream' }))
      const frames = await listening.received(2)
      assert.equal(frames[0]?.payload.toString(), 'meanwhile')
      assert.equal(closeOf(frames[1]!).code, 4401)
      assert.equal((await ended(path)).ended, 'token_expired')
    })
  }

  /** Sends in small pieces, the last of them at `end`. */
  async function slowly(from: RawEnd, bytes: Buffer, end: number): Promise<void> {
    const pieces = 40
    const size = Math.ceil(bytes.length / pieces)
    const started = Date.now()
    for (let sent = 0; sent < pieces && !from.socket.destroyed; sent++) {
      // By the clock: pauses that each last a little longer would add up
      await delay(started + ((end - started) * (sent + 1)) / pieces - Date.now())
      from.send(bytes.subarray(sent * size, (sent + 1) * size))
    }
  }
})

describe('a revocation', () => {
  const revoke = async (body: object): Promise<void> => {
    const { status, text } = await send(`${gateway.adminUrl}/revocations`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    assert.equal(status, 204, text)
  }

  const iat = Math.floor(Date.now() / 1000) - 60
  const cases: [string, object, ClaimSet, ClaimSet, string, RegExp][] = [
    [
      'session',
      { session_id: 's1' },
      { session_id: 's1' },
      { session_id: 's2' },
      'token_revoked',
      /signed out|revoked/,
    ],
    [
      'user',
      { user_id: 'u1' },
      { sub: 'u1', iat },
      { sub: 'u2', iat },
      'token_revoked',
      /signed out|revoked/,
    ],
    [
      'company',
      { company_id: 'c1' },
      { app_metadata: { company_id: 'c1' } },
      { app_metadata: { company_id: 'c2' } },
      'company_blocked',
      /blocked/,
    ],
  ]
  for (const [what, body, own, other, reason, words] of cases) {
    test(`of a ${what} closes its sockets, on both sides, and no others`, async () => {
      const path = `/live/revoked-${what}`
      const mine = await Promise.all(Array.from({ length: 10 }, () => opened(path, token(claims(own)))))
      const theirs = await Promise.all(
        Array.from({ length: 10 }, () => opened('/live/kept', token(claims(other)))),
      )
      await revoke(body)
      for (const { client, server } of mine) {
        const closed = await client.closed(5_000)
        assert.equal(closed.code, 4401)
        assert.match(closed.reason, words)
        assert.equal((await server.closed()).code, 4401)
      }
      for (const { client, server } of theirs) {
        client.socket.send('still here')
        assert.equal((await server.received(1))[0]?.data.toString(), 'still here')
        client.socket.close()
      }
      await until('all have their line', () => gateway.log.filter(line => line.path === path).length === 10)
      for (const line of gateway.log.filter(each => each.path === path)) {
        assert.deepEqual([line.ended, line.close_code], [reason, 4401])
      }
      await assert.rejects(connect(gateway.url + path, { token: token(claims(own)) }), /401|403/)
    })
  }
})

describe('the end of the gateway', () => {
  async function draining(context: TestContext, drainTimeout: number): Promise<GatewayProcess> {
    const other = await startConfigured({
      server: { drainTimeout },
      routes: [
        { path: '/live/*', upstream: service.url },
        { path: '/raw/*', upstream: raw.url },
      ],
    })
    context.after(() => other.stop('SIGKILL'))
    return other
  }

  test('is said with 1001 to all, spread over the drain time, and it ends with 0', async context => {
    const other = await draining(context, 4)
    const peers = await Promise.all(
      Array.from({ length: 40 }, () => pair(`${other.url}/live/x`, service, {})),
    )
    const started = performance.now()
    const exit = other.stop('SIGTERM')
    const times = await Promise.all(
      peers.map(async ({ client, server }) => {
        const { code, reason } = await client.closed(10_000)
        const time = performance.now() - started
        assert.equal(code, 1001)
        assert.notEqual(reason, '')
        assert.equal((await server.closed()).code, 1001)
        return time
      }),
    )
    assert.equal(await exit, 0)
    times.sort((a, b) => a - b)
    assert.ok(times.at(-1)! - times[0]! > 1_000, `all within ${times.at(-1)! - times[0]!} ms`)
    assert.ok(times[0]! < 2_500, `the first after ${times[0]} ms`)
    const lines = other.log.filter(({ path }) => path === '/live/x')
    assert.equal(lines.length, 40)
    assert.ok(lines.every(line => line.ended === 'draining' && line.close_code === 1001))
  })

  test('does not wait for those who do not answer', async context => {
    const other = await draining(context, 1)
    const deaf = await Promise.all(
      Array.from({ length: 5 }, () => rawPair(other, raw, '/raw/x', { Authorization: `Bearer ${token()}` })),
    )
    const started = performance.now()
    assert.equal(await other.stop('SIGTERM'), 0)
    assert.ok(performance.now() - started < 8_000)
    for (const { client, server } of deaf) {
      assert.equal(closeOf(client.frames()[0]!).code, 1001)
      assert.notEqual(await client.ended(), 'open')
      assert.notEqual(await server.ended(), 'open')
    }
  })

  test('lets messages through until its goodbye', async context => {
    const other = await draining(context, 3)
    const peers = await Promise.all(
      Array.from({ length: 10 }, () => pair(`${other.url}/live/x`, service, {})),
    )
    const exit = other.stop('SIGTERM')
    const said = await Promise.all(
      peers.map(async ({ client, server }) => {
        const end: Promise<unknown> = client.closed(10_000)
        let sent = 0
        for (let open = true; open; ) {
          client.socket.send(`${sent++}`)
          open = await Promise.race([end.then(() => false), delay(20, true)])
        }
        await server.closed()
        return { sent, server }
      }),
    )
    assert.equal(await exit, 0)
    for (const { sent, server } of said) assertInOrder(server, sent)
  })

  /** What came is a beginning of what was sent. */
  function assertInOrder({ messages }: Peer, sent: number): void {
    assert.ok(messages.length > 0 && messages.length <= sent)
    messages.forEach(({ data }, index) => {
      assert.equal(data.toString(), `${index}`)
    })
  }
})
