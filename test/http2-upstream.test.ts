/** Upstreams that speak HTTP/2, behind clients that do not. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { constants } from 'node:http2'
import net, { type AddressInfo } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { echo, type Http2Service, type Http2Upstream, http2Upstream } from './support/http2-upstream.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw } from './support/raw.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'

const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = constants

let gateway: GatewayProcess
let upstream: Http2Upstream
/** Takes ten requests at a time, on each of at most four connections. */
let narrow: Http2Upstream
let service: Http2Service = echo

before(async () => {
  upstream = await http2Upstream(request => service(request))
  narrow = await http2Upstream(
    async request => {
      await request.text()
      // Long enough for all that may come at a time to have come
      setTimeout(() => echo(request), 20)
    },
    { settings: { maxConcurrentStreams: 10 } },
  )
  const free = net.createServer().listen(0, '127.0.0.1')
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  free.close()
  gateway = await startConfigured({
    upstreams: {
      service: { url: upstream.url, protocol: 'h2c' },
      narrow: { url: narrow.url, protocol: 'h2c', maxConnections: 4 },
    },
    routes: [
      { path: '/own/*', upstream: 'service' },
      { path: '/public/*', auth: 'none', upstream: 'service' },
      { path: '/stripped/*', auth: 'none', upstream: 'service', stripPrefix: true },
      { path: '/narrow', auth: 'none', upstream: 'narrow' },
      {
        path: '/hasty/*',
        auth: 'none',
        upstream: 'service',
        timeouts: { firstByte: '1s', idle: '1s' },
      },
      {
        path: '/passing',
        auth: 'none',
        upstream: { url: upstream.url, protocol: 'h2c', idleTimeout: '300ms' },
      },
      { path: '/down', auth: 'none', upstream: { url: `http://127.0.0.1:${port}`, protocol: 'h2c' } },
    ],
  })
})

afterEach(() => {
  service = echo
})

after(async () => {
  await gateway?.stop('SIGKILL')
  await upstream?.close()
  await narrow?.close()
})

const respond: Http2Service = ({ stream }) => {
  stream.respond({ ':status': 200 })
  stream.end('whole')
}

describe('a request to an upstream of HTTP/2', () => {
  test('has its own head, and nothing of a connection or of what only the gateway may say', async () => {
    const answer = await send(`${gateway.url}/own/a%20b?c=d`, {
      headers: {
        ...bearer(token()),
        host: 'api.example.com',
        connection: 'keep-alive, x-nominated',
        te: 'trailers, deflate',
        'x-nominated': 'a',
        'X-Company-ID': 'foreign',
        x_company_id: 'foreign',
        'x-forwarded-for': '192.0.2.1',
        cookie: 'a=b',
        'Content-Type': 'text/plain',
        'X-Twice': ['1', '2'],
      },
    })
    assert.equal(answer.status, 200)
    const request = upstream.requests.at(-1)!
    assert.deepEqual(request.fields.slice(0, 8), [
      ...[':method', 'GET', ':scheme', 'http'],
      ...[':authority', upstream.url.slice('http://'.length), ':path', '/own/a%20b?c=d'],
    ])
    assert.deepEqual(request.values('x-company-id'), ['acme'])
    assert.deepEqual(request.values('x-forwarded-for'), ['127.0.0.1'])
    assert.deepEqual(request.values('x-forwarded-host'), ['api.example.com'])
    assert.deepEqual(request.values('x-request-id'), [answer.headers['x-request-id']])
    assert.deepEqual(request.values('te'), ['trailers'])
    assert.deepEqual(request.values('x-twice'), ['1', '2'])
    assert.deepEqual(request.values('content-type'), ['text/plain'])
    for (const name of ['x_company_id', 'x-nominated', 'cookie', 'connection', 'host', 'content-length'])
      assert.deepEqual(request.values(name), [], name)
    for (let i = 0; i < request.fields.length; i += 2)
      assert.doesNotMatch(request.fields[i]!, /[A-Z]/, 'names are lower case')
  })

  test('loses its prefix where the route strips it', async () => {
    await send(`${gateway.url}/stripped/x?y`)
    const request = upstream.requests.at(-1)!
    assert.equal(request.path, '/x?y')
    assert.deepEqual(request.values('x-forwarded-prefix'), ['/stripped'])
  })

  for (const [name, headers] of [
    ['with its length', { 'content-length': '3000000' }],
    ['in chunks', { 'transfer-encoding': 'chunked' }],
  ] as const) {
    test(`takes a large body ${name}, and a large answer comes back`, async () => {
      const body = randomBytes(3_000_000)
      service = ({ stream }) => {
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      }
      const answer = await send(`${gateway.url}/public/echo`, { method: 'POST', headers, body })
      assert.equal(answer.status, 200)
      assert.equal(digest(answer.body), digest(body))
    })
  }

  test('is no WebSocket: that is refused here, since no upgrade exists over HTTP/2', async () => {
    const answer = await exchangeRaw(
      gateway.port,
      'GET /public/live HTTP/1.1\r\nHost: g\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    )
    assert.equal(answer.status, 403)
    assert.match(answer.text, /websocket_refused/)
  })

  test('takes a small body together with its head', async () => {
    const answer = await send(`${gateway.url}/public/small`, { method: 'POST', body: 'hello' })
    assert.equal(answer.json().text, 'hello')
    assert.deepEqual(upstream.requests.at(-1)!.values('content-length'), ['5'])
  })

  test('carries trailers both ways', async () => {
    service = async request => {
      request.stream.on('trailers', trailers => {
        request.stream.respond({ ':status': 200 }, { waitForTrailers: true })
        request.stream.on('wantTrailers', () =>
          request.stream.sendTrailers({ 'x-back': 'b', 'x-there': trailers['x-sum'] as string }),
        )
        request.stream.end('body')
      })
      assert.equal(await request.text(), 'hello')
    }
    const { text } = await exchangeRaw(
      gateway.port,
      'POST /public/t HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Company-ID: foreign\r\n\r\n',
      { until: text => text.includes('x-there') },
    )
    assert.match(text, /\r\n4\r\nbody\r\n0\r\nx-back: b\r\nx-there: 1\r\n/)
  })

  test('is invited to send its body by the upstream, not by the gateway', async () => {
    const invited = Promise.withResolvers<void>()
    service = async request => {
      await invited.promise
      request.stream.additionalHeaders({ ':status': 100 })
      await echo(request)
    }
    const connection = await openConnection(gateway.port)
    const arrived = upstream.next()
    connection.write(
      'POST /public/e HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
    )
    const request = await arrived
    assert.deepEqual(request.values('expect'), ['100-continue'])
    assert.equal(connection.text(), '')
    invited.resolve()
    await connection.until(text => text.includes('100 Continue\r\n\r\n'))
    connection.write('hello')
    await connection.until(text => text.includes('"text":"hello"'))
    connection.leave()
  })
})

describe('an answer over HTTP/2', () => {
  test('may be preceded by informational ones', async () => {
    service = ({ stream }) => {
      stream.additionalHeaders({ ':status': 103, link: '</style.css>; rel=preload' })
      stream.respond({ ':status': 200, 'content-length': 2 })
      stream.end('ok')
    }
    const { text } = await exchangeRaw(gateway.port, 'GET /public/early HTTP/1.1\r\nHost: a\r\n\r\n', {
      until: text => text.endsWith('ok'),
    })
    assert.match(
      text,
      /^HTTP\/1.1 103 Early Hints\r\nlink: <\/style.css>; rel=preload\r\n\r\nHTTP\/1.1 200 OK\r\n/,
    )
  })

  test('keeps its repeated fields, and loses what is of the gateway', async () => {
    service = ({ stream }) => {
      stream.respond({
        ':status': 201,
        'set-cookie': ['a=1', 'b=2'],
        'x-request-id': 'forged',
        'access-control-allow-origin': '*',
        'content-length': 5,
      })
      stream.end('whole')
    }
    const answer = await send(`${gateway.url}/public/fields`)
    assert.equal(answer.status, 201)
    assert.equal(answer.text, 'whole')
    assert.deepEqual(answer.values('content-length'), ['5'])
    assert.deepEqual(answer.values('set-cookie'), ['a=1', 'b=2'])
    assert.equal(answer.values('x-request-id').length, 1)
    assert.notEqual(answer.headers['x-request-id'], 'forged')
    assert.deepEqual(answer.values('access-control-allow-origin'), [])
  })

  for (const [method, status, length, ends] of [
    ['HEAD', 200, '7', true],
    ['HEAD', 200, '7', false],
    ['GET', 204, undefined, true],
    ['GET', 204, undefined, false],
    ['GET', 304, '7', true],
    ['GET', 404, '0', true],
  ] as const) {
    test(`to ${method} with status ${status} has no body, and the connection goes on`, async () => {
      service = ({ stream }) => {
        const fields = { ':status': status, ...(length === undefined ? {} : { 'content-length': length }) }
        stream.respond(fields, { endStream: ends })
        if (!ends) stream.end()
      }
      const connection = await openConnection(gateway.port)
      connection.write(`${method} /public/none HTTP/1.1\r\nHost: a\r\n\r\n`)
      const first = parseAnswer(await connection.until(text => text.includes('\r\n\r\n')))
      assert.equal(first.status, status)
      assert.equal(first.values('content-length')[0], length)
      service = respond
      connection.write('GET /public/next HTTP/1.1\r\nHost: a\r\n\r\n')
      await connection.until(text => text.includes('whole'))
      connection.leave()
      await upstream.quiet()
    })
  }

  test('waits for a client that reads slowly, in bounded memory', async () => {
    let sent = 0
    const block = Buffer.alloc(65_536)
    service = ({ stream }) => {
      stream.resume()
      stream.respond({ ':status': 200 })
      const more = (): void => {
        while (sent < 64 * 2 ** 20) {
          sent += block.length
          if (!stream.write(block)) return
        }
        stream.end()
      }
      stream.on('drain', more)
      more()
    }
    const { request, answered } = open(`${gateway.url}/public/slow`)
    request.end()
    const response = await answered
    // Until nothing moves any more
    let before = -1
    await until('the upstream is held up', () => {
      const still = sent === before
      before = sent
      return still && sent > 0
    })
    assert.ok(sent < 16 * 2 ** 20, `${sent} bytes taken ahead`)
    let received = 0
    for await (const chunk of response) received += (chunk as Buffer).length
    assert.equal(received, sent)
  })

  test('that comes before the request is whole reaches the client, and the upload ends', async () => {
    service = ({ stream }) => {
      stream.respond({ ':status': 413, 'content-length': 5 })
      stream.end('large')
    }
    const connection = await openConnection(gateway.port)
    connection.write('POST /public/big HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n')
    connection.write(Buffer.alloc(200_000))
    const answer = parseAnswer(await connection.until(text => text.endsWith('large')))
    assert.equal(answer.status, 413)
    connection.leave()
    await upstream.quiet()
  })
})

describe('connections of HTTP/2', () => {
  test('are few for many requests, within the bounds of both sides', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        send(`${gateway.url}/narrow?${i}`, { method: 'POST', body: 'x' }),
      ),
    )
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.deepEqual(
      answers.map(answer => answer.json().path),
      answers.map((_, i) => `/narrow?${i}`),
    )
    assert.ok(narrow.connections() <= 4, `${narrow.connections()} connections`)
    assert.ok(narrow.busiest() <= 40, `${narrow.busiest()} at a time`)
  })

  test('are closed when they have been idle', async () => {
    const before = upstream.sessions.size
    assert.equal((await send(`${gateway.url}/passing`)).status, 200)
    assert.ok(upstream.sessions.size > 0)
    await until('the connection is closed', () => upstream.sessions.size <= before)
  })

  test('that are to go away finish what runs, and take no more', async () => {
    const finish = Promise.withResolvers<void>()
    service = async ({ stream }) => {
      stream.respond({ ':status': 200 })
      stream.write('begun, ')
      await finish.promise
      stream.end('whole')
    }
    const arrived = upstream.next()
    const running = send(`${gateway.url}/public/running`)
    const { session } = await arrived
    const closed = once(session, 'close')
    session.close()
    service = respond
    for (let i = 0; i < 4; i++) {
      const next = upstream.next()
      assert.equal((await send(`${gateway.url}/public/after`)).status, 200)
      assert.notEqual((await next).session, session)
    }
    finish.resolve()
    assert.equal((await running).text, 'begun, whole')
    await closed
  })

  test('that go away without having looked at a request: it is sent again', async () => {
    const seen = () => upstream.requests.filter(({ path }) => path === '/public/unseen').length
    let turnedAway = false
    service = request => {
      // The first of a connection has none before it to be named as the last that was looked at.
      if (turnedAway || request.stream.id === 1) return respond(request)
      turnedAway = true
      request.session.goaway(NGHTTP2_NO_ERROR, request.stream.id! - 2)
    }
    // Each worker has connections of its own
    for (let before = 0; !turnedAway; before = seen()) {
      const answer = await send(`${gateway.url}/public/unseen`)
      assert.deepEqual([answer.status, answer.text], [200, 'whole'])
      assert.equal(seen() - before, turnedAway ? 2 : 1)
    }
  })
})

test('uploads that were refused, however many, leave the connections behind them in order', async () => {
  const refusing = await http2Upstream(
    ({ stream, method }) => stream.respond({ ':status': method === 'POST' ? 413 : 200 }, { endStream: true }),
    // Nothing of a body can be sent: all of it waits
    { settings: { initialWindowSize: 0 } },
  )
  const own = await startConfigured({
    routes: [{ path: '/*', auth: 'none', upstream: { url: refusing.url, protocol: 'h2c' } }],
  })
  try {
    const head = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n'
    const upload = Buffer.concat([Buffer.from(head), Buffer.alloc(200_000)])
    for (let count = 0; count < 400; count += 10) {
      const answers = Array.from({ length: 10 }, () =>
        exchangeRaw(own.port, upload, { until: text => text.includes('\r\n\r\n') }),
      )
      const statuses = (await Promise.all(answers)).map(({ status }) => status)
      assert.deepEqual(new Set(statuses), new Set([413]), `after ${count}`)
    }
    assert.equal((await send(own.url)).status, 200)
  } finally {
    await own.stop('SIGKILL')
    await refusing.close()
  }
})

describe('a request that the upstream refuses to look at', () => {
  const refuse =
    (times: number): Http2Service =>
    request => {
      if (times-- <= 0) return echo(request)
      request.stream.close(NGHTTP2_REFUSED_STREAM)
    }
  const count = () => upstream.requests.filter(({ path }) => path === '/public/refused').length

  test('is sent once more, with a body that was here at once too', async () => {
    for (const options of [{}, { method: 'POST', body: 'small' }]) {
      const before = count()
      service = refuse(1)
      const answer = await send(`${gateway.url}/public/refused`, options)
      assert.equal(answer.status, 200)
      assert.equal(answer.json().text, options.body ?? '')
      assert.equal(count(), before + 2)
    }
  })

  test('is not sent a third time', async () => {
    const before = count()
    service = refuse(2)
    const answer = await send(`${gateway.url}/public/refused`)
    assert.equal(answer.status, 502)
    assert.equal(answer.json().code, 'upstream_reset')
    assert.equal(count(), before + 2)
  })

  test('is not sent again when some of its body is gone', async () => {
    const before = count()
    service = refuse(1)
    const body = Buffer.alloc(2_000_000)
    const answer = await send(`${gateway.url}/public/refused`, { method: 'POST', body })
    assert.equal(answer.status, 502)
    assert.equal(count(), before + 1)
  })
})

describe('an upstream of HTTP/2 that fails', () => {
  test('says nothing for too long: 504 before its answer, broken within it', async () => {
    service = () => {}
    const answer = await send(`${gateway.url}/hasty/silent`)
    assert.deepEqual([answer.status, answer.json().code], [504, 'upstream_timeout'])
    service = ({ stream }) => {
      stream.respond({ ':status': 200 })
      stream.write('begun')
    }
    await assert.rejects(send(`${gateway.url}/hasty/stalls`))
    await upstream.quiet()
  })

  test('is not there: 503', async () => {
    const answer = await send(`${gateway.url}/down`)
    assert.deepEqual([answer.status, answer.json().code], [503, 'upstream_unreachable'])
  })

  test('leaves the gateway as it was', async () => {
    for (let i = 0; i < 4; i++) assert.equal((await send(`${gateway.url}/public/fine`)).status, 200)
    await upstream.quiet()
  })
})

test('a client that leaves cancels its request, before the answer and within it', async () => {
  for (const begins of [false, true]) {
    service = ({ stream }) => {
      if (!begins) return
      stream.respond({ ':status': 200 })
      stream.write('begun')
    }
    const arrived = upstream.next()
    const connection = await openConnection(gateway.port)
    connection.write('GET /public/left HTTP/1.1\r\nHost: a\r\n\r\n')
    const { stream } = await arrived
    if (begins) await connection.until(text => text.includes('begun'))
    const closed = once(stream, 'close')
    connection.leave()
    await closed
    assert.equal(stream.rstCode, NGHTTP2_CANCEL)
  }
})

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
