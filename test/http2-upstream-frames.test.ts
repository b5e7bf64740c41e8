/** Upstreams of HTTP/2 that break, lie or are something else, frame by frame; and what is sent to them. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo, type Server } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { type Connection, connectionsTo } from './support/connection.ts'
import { type FrameRequest, type FrameUpstream, frameUpstream } from './support/frame-upstream.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { END_STREAM, FRAME, frame, resetFrame } from './support/http2-frames.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'

const [NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, CALM] = [0, 2, 7, 8, 11]

type Service = (request: FrameRequest) => void

const ok: Service = request => request.write(request.head([[':status', '200']]), request.data('whole', true))

let gateway: GatewayProcess
let upstream: FrameUpstream
/** Speaks HTTP/1.1 whatever it hears. */
let older: Server
/** Says nothing. */
let silent: Server
let service: Service = ok
const connections = connectionsTo(() => gateway.port)

before(async () => {
  upstream = await frameUpstream(request => service(request))
  silent = net.createServer(socket => void socket.on('error', () => {}).resume()).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  older = net.createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'))
  })
  older.listen(0, '127.0.0.1')
  await once(older, 'listening')
  const route = (path: string, url: string, more = {}) => ({
    path,
    auth: 'none' as const,
    upstream: { url, protocol: 'h2c' as const, ...more },
  })
  gateway = await startConfigured({
    routes: [
      route('/u', upstream.url),
      route('/older', urlOf(older)),
      route('/silent', urlOf(silent), { timeouts: { connect: '300ms' } }),
    ],
  })
})

afterEach(() => {
  service = ok
})

after(async () => {
  connections.leave()
  await gateway?.stop('SIGKILL')
  older?.close()
  await upstream?.close()
  silent?.close()
})

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

async function ask(text = 'GET /u HTTP/1.1\r\nHost: a\r\n\r\n'): Promise<[Connection, FrameRequest]> {
  const connection = await connections.open()
  const arrived = upstream.next()
  connection.write(text)
  return [connection, await arrived]
}

const goaway = (last: number, code: number): Buffer => {
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(last)
  payload.writeUInt32BE(code, 4)
  return frame(FRAME.goaway, 0, 0, payload)
}

const breaks: Record<string, Service> = {
  'resets the stream': request => request.write(resetFrame(request.stream, INTERNAL_ERROR)),
  'cancels the stream': request => request.write(resetFrame(request.stream, CANCEL)),
  'resets the stream without an error': request => request.write(resetFrame(request.stream, NO_ERROR)),
  'refuses the stream now': request => request.write(resetFrame(request.stream, REFUSED_STREAM)),
  'goes away in anger': request => request.write(goaway(request.stream, CALM)),
  'ends the connection': request => request.socket.end(),
  'resets the connection': request => request.socket.resetAndDestroy(),
  'sends what is no frame': request => request.write(Buffer.alloc(64, 0xff)),
  'sends a header section that is none': request =>
    request.write(frame(FRAME.headers, 0x4, request.stream, Buffer.alloc(8, 0xff))),
}

for (const [name, breakNow] of Object.entries(breaks)) {
  describe(`an upstream that ${name}`, () => {
    for (const length of ['unknown', '20', '200000']) {
      test(`within an answer of length ${length}: the client sees it broken`, async () => {
        service = request => {
          const fields: [string, string][] = [[':status', '200']]
          if (length !== 'unknown') fields.push(['content-length', length])
          request.write(request.head(fields), request.data('begun'))
        }
        const [connection, request] = await ask()
        await connection.until(text => text.includes('begun'))
        breakNow(request)
        assert.equal(await connection.ended(), 'reset')
        assert.doesNotMatch(connection.text(), /\r\n0\r\n/)
      })
    }

    test('before the answer: 502', async () => {
      service = breakNow
      const [connection] = await ask('POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n')
      const { body } = assertProblem(await connection.until(text => text.includes('request_id')), [502])
      assert.match(body, /"upstream_(?:reset|malformed)"/)
    })

    test('leaves others unharmed', async () => {
      assert.equal((await send(`${gateway.url}/u`)).text, 'whole')
    })
  })
}

describe('an answer', () => {
  test('that is shorter than announced is broken, not whole', async () => {
    service = request =>
      request.write(
        request.head([
          [':status', '200'],
          ['content-length', '20'],
        ]),
        request.data('begun', true),
      )
    const [connection] = await ask()
    const end = await connection.ended()
    // Nothing was sent yet, or not the rest
    if (end === 'open') assertProblem(connection.text(), [502])
    else assert.equal(end, 'reset')
  })

  test('of which all that was announced has come is whole, even if a reset without an error ends it', async () => {
    service = request =>
      request.write(
        request.head([
          [':status', '200'],
          ['content-length', '5'],
        ]),
        request.data('whole'),
        resetFrame(request.stream, NO_ERROR),
      )
    assert.equal((await send(`${gateway.url}/u`)).text, 'whole')
  })

  test('with fields beyond measure is a 502', async () => {
    const fields = Array.from({ length: 200 }, (_, i): [string, string] => [`x-${i}`, 'v'.repeat(1_000)])
    service = request => {
      const head = request.head([[':status', '200'], ...fields])
      const size = 16_000
      const section = head.subarray(9)
      const parts: Buffer[] = []
      for (let at = 0; at < section.length; at += size) {
        const last = at + size >= section.length
        const type = at === 0 ? FRAME.headers : FRAME.continuation
        parts.push(frame(type, last ? 0x4 : 0, request.stream, section.subarray(at, at + size)))
      }
      request.write(...parts, request.data('whole', true))
    }
    const answer = await send(`${gateway.url}/u`)
    assert.equal(answer.status, 502)
    service = ok
    assert.equal((await send(`${gateway.url}/u`)).text, 'whole')
  })

  for (const status of ['999', '600', '099', 'abc']) {
    test(`with the status ${status} is a 502`, async () => {
      service = request => request.write(request.head([[':status', status]]), request.data('whole', true))
      const answer = await send(`${gateway.url}/u`)
      assert.equal(answer.status, 502)
      assert.match(answer.json().code, /^upstream_/)
      service = ok
      assert.equal((await send(`${gateway.url}/u`)).text, 'whole')
    })
  }

  test('that is whole stays whole when the rest of the request is not wanted', async () => {
    for (const length of ['5', 'unknown']) {
      service = request => {
        const fields: [string, string][] = [[':status', '413']]
        if (length !== 'unknown') fields.push(['content-length', length])
        request.write(request.head(fields), request.data('large', true), resetFrame(request.stream, NO_ERROR))
      }
      const [connection] = await ask(
        'POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome of it',
      )
      const text = await connection.until(text => text.endsWith(length === '5' ? 'large' : '0\r\n\r\n'))
      const { status, body } = parseAnswer(text)
      assert.equal(status, 413)
      assert.match(body, /large/)
    }
  })
})

test('a body that breaks off is cancelled, and its end is not sent', async () => {
  service = () => {}
  const [connection, request] = await ask(
    'POST /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  )
  await request.next(({ type }) => type === FRAME.data)
  connection.leave()
  const reset = await request.next(({ type }) => type === FRAME.reset)
  assert.equal(reset.payload.readUInt32BE(), CANCEL)
  assert.deepEqual(
    request.frames().filter(({ type, flags }) => type === FRAME.data && (flags & END_STREAM) !== 0),
    [],
  )
})

test('a body ends with its last frame', async () => {
  service = () => {}
  const [connection, request] = await ask('POST /u HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello')
  const last = await request.next(({ type, flags }) => type === FRAME.data && (flags & END_STREAM) !== 0)
  assert.ok(last !== undefined)
  ok(request)
  await connection.until(text => text.includes('whole'))
})

test('an upstream that speaks something else is a 502, and one that says nothing a 504', async () => {
  const older = await send(`${gateway.url}/older`)
  assert.deepEqual([older.status, older.json().code], [502, 'upstream_malformed'])
  const silent = await send(`${gateway.url}/silent`)
  assert.deepEqual([silent.status, silent.json().code], [504, 'upstream_connect_timeout'])
})
