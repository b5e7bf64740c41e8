/** Handshakes that must not become WebSockets, byte by byte: what the client is told, and what the upstream never hears. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import { type Connection, connectionsTo } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'
import { BINARY, frame, handshake, KEY, type Lines, switching } from './support/websocket-frames.ts'

const AUTHORIZATION = { Authorization: `Bearer ${token()}` }
/** Would pass through a tunnel, and is no request. */
const FRAME = frame(BINARY, 'pipelined-bytes')
/** Ends a connection that is still read as HTTP, by itself or behind a frame. */
const END = Buffer.from('no request\r\n\r\n')

let gateway: GatewayProcess
/** Accepts every WebSocket, answers 200 to all else. */
let upstream: RecordingUpstream

before(async () => {
  upstream = await recordingUpstream(request => {
    if (request.values('upgrade').length > 0) request.socket.write(switching(request.head))
    else request.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain')
  })
  gateway = await startConfigured({
    routes: [
      { path: '/live/*', upstream: upstream.url },
      { path: '/open/*', auth: 'none', upstream: upstream.url },
      { path: '/none/*', upstream: upstream.url, websocket: false },
      { path: '/posts', methods: ['POST'], upstream: upstream.url },
      { path: '/fixed', auth: 'none', respond: { body: 'fixed' } },
    ],
  })
})
const connections = connectionsTo(() => gateway.port)
after(async () => {
  connections.leave()
  await gateway?.stop('SIGKILL')
  await upstream?.close()
})

interface Refusal {
  readonly what: string
  readonly lines: Lines
  readonly start?: string
}

const asked = ({ lines, start }: Omit<Refusal, 'what'>, path = '/live/x'): string =>
  handshake(path, { ...AUTHORIZATION, ...lines }, start)

/** Sends a handshake with frames behind it, and gives the first answer once the connection has ended. */
async function refused(request: Omit<Refusal, 'what'>, path?: string): Promise<string> {
  const { text, end } = await exchangeRaw(
    gateway.port,
    Buffer.concat([Buffer.from(asked(request, path)), FRAME, END]),
  )
  assert.notEqual(end, 'open', text)
  return text
}

/** Neither a new connection nor a byte of the frame may have reached the upstream. */
async function untouched(action: () => Promise<void>): Promise<void> {
  const before = [upstream.connections(), upstream.requests.length]
  await action()
  assert.deepEqual([upstream.connections(), upstream.requests.length], before)
  assert.ok(!upstream.bytes().includes('pipelined-bytes'))
}

describe('a handshake', () => {
  test('that is valid is accepted with the right answer to its key', async () => {
    const connection = await connections.open()
    connection.write(asked({ lines: {} }))
    const head = await connection.until(text => text.includes('\r\n\r\n'))
    assert.match(head, /^HTTP\/1\.1 101 Switching Protocols\r\n/)
    assert.match(head, /\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i)
    assert.match(head, /\r\nUpgrade: websocket\r\n/i)
    assert.match(head, /\r\nConnection: upgrade\r\n/i)
    assert.match(head, /\r\nX-Request-ID: /i)
    assert.doesNotMatch(head, /\r\n(?:content-length|transfer-encoding): /i)
    connection.leave()
  })

  const variants: Refusal[] = [
    { what: 'Upgrade: WebSocket', lines: { Upgrade: 'WebSocket' } },
    { what: 'Connection: keep-alive, Upgrade', lines: { Connection: 'keep-alive, Upgrade' } },
    { what: 'Connection: UPGRADE', lines: { Connection: 'UPGRADE' } },
    { what: 'Connection in two lines', lines: { Connection: ['keep-alive', 'Upgrade'] } },
    { what: 'an absolute target', lines: {}, start: 'GET http://gateway.test/live/x HTTP/1.1' },
    { what: 'Content-Length: 0', lines: { 'Content-Length': '0' } },
  ]
  for (const { what, ...request } of variants) {
    test(`with ${what} is accepted`, async () => {
      const answer = await exchangeRaw(gateway.port, asked(request), { until: wholeAnswer })
      assert.equal(answer.status, 101, answer.text)
    })
  }

  const unauthenticated: [string, Lines, number][] = [
    ['without a token', { Authorization: undefined }, 401],
    ['with an expired token', { Authorization: `Bearer ${token(claims({ exp: 1_000 }))}` }, 401],
    ['with a forged token', { Authorization: `Bearer ${token(claims(), { secret: 'x'.repeat(32) })}` }, 401],
    ['with a token without company', { Authorization: `Bearer ${token(claims({ app_metadata: {} }))}` }, 403],
  ]
  for (const [what, lines, status] of unauthenticated) {
    test(`${what} is refused before any upstream connection`, () =>
      untouched(async () => {
        const answer = assertProblem(await refused({ lines }), [status])
        if (status === 401) assert.match(answer.values('www-authenticate').join(), /^Bearer/)
      }))
  }

  const malformed: Refusal[] = [
    { what: 'without a key', lines: { 'Sec-WebSocket-Key': undefined } },
    { what: 'with two keys', lines: { 'Sec-WebSocket-Key': [KEY, KEY] } },
    { what: 'with an empty key', lines: { 'Sec-WebSocket-Key': '' } },
    { what: 'with a key of words', lines: { 'Sec-WebSocket-Key': 'not a key of any kind' } },
    { what: 'with a key of 15 bytes', lines: { 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') } },
    { what: 'with a key of 17 bytes', lines: { 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') } },
    { what: 'with a key without its padding', lines: { 'Sec-WebSocket-Key': KEY.slice(0, 22) } },
    { what: 'with a key and more', lines: { 'Sec-WebSocket-Key': `${KEY}, ${KEY}` } },
    { what: 'without Connection: upgrade', lines: { Connection: 'keep-alive' } },
    { what: 'without Connection', lines: { Connection: undefined } },
    { what: 'with a body', lines: { 'Content-Length': String(FRAME.length) } },
    { what: 'with a chunked body', lines: { 'Transfer-Encoding': 'chunked' } },
  ]
  for (const { what, ...request } of malformed) {
    test(`${what} is refused`, () =>
      untouched(async () => {
        assert.match(assertProblem(await refused(request), [400]).body, /"code":"\w+"/)
      }))
  }

  for (const version of [undefined, '8', '12', '14', '', '0', '013', '13.0', 'x', ['13', '8'], '13, 8']) {
    test(`of version ${JSON.stringify(version)} is told the right one`, () =>
      untouched(async () => {
        const answer = parseAnswer(await refused({ lines: { 'Sec-WebSocket-Version': version } }))
        // Several versions in one request are no version at all
        const several = String(version).includes(',')
        assert.ok(answer.status === 426 || (several && answer.status === 400), answer.head)
        if (answer.status !== 426) return
        assert.deepEqual(answer.values('sec-websocket-version'), ['13'])
        assert.deepEqual(answer.values('upgrade'), ['websocket'])
        assert.match(answer.values('connection').join(), /\bupgrade\b/i)
        assert.match(answer.body, /"code":"websocket_version"/)
      }))
  }

  test('on a route that takes no WebSockets is refused', () =>
    untouched(async () => {
      const answer = assertProblem(await refused({ lines: {} }, '/none/x'), [403])
      assert.match(answer.body, /"code":"websocket_refused"/)
    }))

  test('on a path without a route is refused', () =>
    untouched(async () => {
      assertProblem(await refused({ lines: {} }, '/nowhere'), [404])
    }))

  test('on a route that answers by itself is answered by it, and no tunnel', async () => {
    const answer = parseAnswer(await refused({ lines: {} }, '/fixed'))
    assert.ok([200, 400, 403].includes(answer.status), answer.head)
  })
})

describe('what asks for an upgrade without being a handshake', () => {
  const others: (Refusal & { statuses: number[] })[] = [
    {
      what: 'POST',
      lines: { 'Content-Length': '0' },
      start: 'POST /live/x HTTP/1.1',
      statuses: [200, 400, 405],
    },
    {
      what: 'PUT',
      lines: { 'Content-Length': '0' },
      start: 'PUT /live/x HTTP/1.1',
      statuses: [200, 400, 405],
    },
    { what: 'HEAD', lines: {}, start: 'HEAD /live/x HTTP/1.1', statuses: [200, 400, 405] },
    { what: 'HTTP/1.0', lines: {}, start: 'GET /live/x HTTP/1.0', statuses: [200, 400, 505] },
    { what: 'Upgrade: foo', lines: { Upgrade: 'foo' }, statuses: [200, 400] },
    { what: 'Upgrade: websocket/13', lines: { Upgrade: 'websocket/13' }, statuses: [200, 400] },
    { what: 'Upgrade: TLS/1.0', lines: { Upgrade: 'TLS/1.0' }, statuses: [200, 400] },
    {
      what: 'Upgrade: h2c',
      lines: {
        Upgrade: 'h2c',
        Connection: 'Upgrade, HTTP2-Settings',
        'HTTP2-Settings': 'AAMAAABkAAQAAP__',
      },
      statuses: [200, 400],
    },
  ]
  for (const { what, statuses, ...request } of others) {
    test(`${what} is at most a request, and nothing of it is tunnelled`, async () => {
      const count = upstream.requests.length
      const answer = parseAnswer(await refused(request))
      assert.ok(statuses.includes(answer.status), answer.head)
      for (const { head } of upstream.requests.slice(count)) {
        assert.doesNotMatch(head, /^(?:upgrade|http2-settings):/im)
        assert.doesNotMatch(head, /^connection:.*(?:upgrade|http2-settings)/im)
      }
      assert.ok(!upstream.bytes().includes('pipelined-bytes'))
    })
  }

  test('a request behind Upgrade: foo is a request of its own, with its own guards', async () => {
    const connection = await connections.open()
    const get = 'GET /live/second HTTP/1.1\r\nHost: gateway.test\r\n\r\n'
    connection.write(asked({ lines: { Upgrade: 'foo' } }) + get)
    const text = await connection.until(text => text.includes('Not authenticated'))
    assert.match(text, /^HTTP\/1\.1 200 .*plainHTTP\/1\.1 401 /s)
    assert.ok(!upstream.bytes().includes('/live/second'))
    connection.leave()
  })

  test('an absolute target leads to no other host', async context => {
    let trapped = 0
    const trap = net.createServer(socket => {
      trapped++
      socket.destroy()
    })
    trap.listen(0, '127.0.0.1')
    await once(trap, 'listening')
    context.after(() => trap.close())
    const { port } = trap.address() as AddressInfo
    const start = `GET http://127.0.0.1:${port}/live/absolute HTTP/1.1`
    const { status } = await exchangeRaw(gateway.port, asked({ lines: {}, start }), { until: wholeAnswer })
    assert.ok(status === 101 || (status >= 400 && status < 500), `${status}`)
    if (status === 101) assert.equal(upstream.requests.at(-1)?.target, '/live/absolute')
    assert.equal(trapped, 0)
  })
})

describe('a connection', () => {
  /** Something that only works on a connection still read as HTTP. */
  async function stillHttp(connection: Connection): Promise<void> {
    const before = connection.text().length
    connection.write('GET /open/next HTTP/1.1\r\nHost: gateway.test\r\n\r\n')
    const text = await connection.until(text => wholeAnswer(text.slice(before)))
    assert.equal(parseAnswer(text.slice(before)).body, 'plain')
  }

  const kept: [string, Lines, string][] = [
    ['a missing token', { Authorization: undefined }, '/live/x'],
    ['a missing key', { 'Sec-WebSocket-Key': undefined }, '/live/x'],
    ['an unknown version', { 'Sec-WebSocket-Version': '7' }, '/live/x'],
    ['a route without WebSockets', {}, '/none/x'],
  ]
  for (const [what, lines, path] of kept) {
    test(`goes on, or is closed, after a refusal for ${what}`, async () => {
      const connection = await connections.open()
      connection.write(asked({ lines }, path))
      const text = await connection.until(wholeAnswer)
      assert.ok(parseAnswer(text).status >= 400)
      if (/\r\nconnection: (?:.*, *)?close/i.test(text)) assert.equal(await connection.ended(), 'fin')
      else await stillHttp(connection)
      connection.leave()
    })
  }
})
