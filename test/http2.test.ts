/** HTTP/2 at the front door: the same requests and answers as over HTTP/1.1, many at a time on one connection. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { answerTo, openSession, request } from './support/http2-client.ts'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  getFrame,
  openFrames,
  resetFrame,
  section,
} from './support/http2-frames.ts'
import { claims, token } from './support/token.ts'
import { answerWith, type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

describe('over HTTP/2', () => {
  let gateway: GatewayProcess
  let recording: RecordingUpstream
  let web: HttpUpstream
  let session: ClientHttp2Session
  const sessions: ClientHttp2Session[] = []
  /** What the recording upstream does with the next requests. */
  let answer = answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')

  async function open(): Promise<ClientHttp2Session> {
    const opened = await openSession(gateway.url)
    sessions.push(opened)
    return opened
  }

  before(async () => {
    recording = await recordingUpstream(request => answer(request))
    web = await httpUpstream()
    gateway = await startConfigured({
      server: { http2: { cleartext: true }, trustedProxies: ['127.0.0.0/8'] },
      routes: [
        { path: '/raw/*', auth: 'none', upstream: recording.url, forwardCookies: true },
        { path: '/web/*', auth: 'none', upstream: web.url, timeouts: { firstByte: '10s' } },
        { path: '/small/*', auth: 'none', upstream: web.url, bodyLimit: 100_000 },
        { path: '/one/*', auth: 'none', upstream: { url: recording.url, maxConnections: 1 } },
        { path: '/guarded/*', upstream: recording.url },
        { path: '/hello', auth: 'none', respond: { body: 'hello' } },
        { path: '/nothing', auth: 'none', respond: { status: 204 } },
      ],
    })
    session = await open()
  })
  after(async () => {
    for (const opened of sessions) opened.destroy()
    await gateway?.stop()
    await Promise.all([recording?.close(), web?.close()])
  })

  test('an answer has its status, its fields in lower case, its length and its body', async () => {
    answer = answerWith(
      'HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Odd: \xe9\r\nContent-Length: 4\r\n\r\nbody',
    )
    const { status, headers, text, code } = await request(session, { ':path': '/raw/a' })
    assert.equal(status, 201)
    assert.equal(text, 'body')
    assert.equal(code, 0)
    assert.equal(headers['content-length'], '4')
    assert.deepEqual(headers['set-cookie'], ['a=1', 'b=2'])
    assert.equal(headers['x-odd'], '\xe9')
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/)
    assert.match(String(headers['x-process-time']), /^\d+\.\d{6}$/)
    assert.ok(headers.date)
    for (const name of ['connection', 'x-hop', 'keep-alive', 'transfer-encoding']) {
      assert.equal(headers[name], undefined, name)
    }
  })

  test('the upstream gets a request of HTTP/1.1 with what the client sent, and who it is', async () => {
    answer = answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    const next = recording.next()
    await request(session, {
      ':path': '/raw/x?y=1',
      ':authority': 'api.example.test:8443',
      cookie: ['a=1', 'b=2'],
      te: 'trailers',
      'x-own': 'kept',
      'x-request-id': 'of-the-client',
      'x-forwarded-proto': 'https',
    })
    const seen = await next
    assert.equal(seen.head.split('\r\n')[0], 'GET /raw/x?y=1 HTTP/1.1')
    assert.deepEqual(seen.values('host'), [new URL(recording.url).host])
    assert.deepEqual(seen.values('x-forwarded-host'), ['api.example.test:8443'])
    assert.deepEqual(seen.values('x-forwarded-proto'), ['https'])
    assert.deepEqual(seen.values('cookie'), ['a=1; b=2'])
    assert.deepEqual(seen.values('x-own'), ['kept'])
    assert.deepEqual(seen.values('x-request-id'), ['of-the-client'])
    assert.deepEqual(seen.values('te'), [])
    assert.ok(!/\r\n:|transfer-encoding|content-length/i.test(seen.head), seen.head)
  })

  test('identity headers come from the token and from nowhere else', async () => {
    answer = answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    const headers = { ':path': '/guarded/x', 'x-company-id': 'evil', x_user_id: 'evil' }
    assert.equal((await request(session, headers)).status, 401)
    for (const company of ['acme', 'other', 'acme']) {
      const next = recording.next()
      const bearer = token(claims({ app_metadata: { company_id: company } }))
      const { status } = await request(session, { ...headers, authorization: `Bearer ${bearer}` })
      assert.equal(status, 200)
      const seen = await next
      assert.deepEqual(seen.values('x-company-id'), [company])
      assert.deepEqual(seen.values('x_user_id'), [])
    }
  })

  test('a hundred requests of one connection are answered side by side, each with its own', async () => {
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        request(session, { ':method': 'POST', ':path': `/web/many/${i}` }, `body ${i}`),
      ),
    )
    for (const [i, { status, text }] of answers.entries()) {
      assert.equal(status, 200)
      const { target, text: body } = JSON.parse(text) as { target: string; text: string }
      assert.deepEqual([target, body], [`/web/many/${i}`, `body ${i}`])
    }
  })

  test('a request without a body says so to the upstream: a POST with a length of 0, a GET with nothing', async () => {
    answer = answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    for (const [method, expected] of [
      ['POST', ['0']],
      ['GET', []],
    ] as const) {
      const next = recording.next()
      await request(session, { ':method': method, ':path': '/raw/empty' })
      assert.deepEqual((await next).values('content-length'), expected)
    }
  })

  test('HEAD, 204 and 304 have no body, and HEAD and 304 the length that it would have', async () => {
    const head = await request(session, { ':method': 'HEAD', ':path': '/hello' })
    assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '5', ''])
    const nothing = await request(session, { ':path': '/nothing' })
    assert.deepEqual([nothing.status, nothing.headers['content-length'], nothing.text], [204, undefined, ''])
    answer = answerWith('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 7\r\n\r\n')
    const same = await request(session, { ':path': '/raw/same' })
    assert.deepEqual([same.status, same.headers.etag, same.text, same.code], [304, '"x"', '', 0])
  })

  describe('bodies', () => {
    test('of 8 MB pass up and down whole, however slowly either side reads', async () => {
      const body = randomBytes(8_000_000)
      const stream = session.request({ ':method': 'POST', ':path': '/web/up' })
      const whole = answerTo(stream)
      stream.end(body)
      const upstream = await web.request('/web/up')
      upstream.message.pause()
      setTimeout(() => upstream.message.resume(), 300)
      const answered = await whole
      assert.equal(answered.status, 200)
      assert.equal((JSON.parse(answered.text) as { received: number }).received, body.length)

      answer = ({ socket }) => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
        socket.write(body)
      }
      const download = session.request({ ':path': '/raw/down' })
      const hash = createHash('sha256')
      let chunks = 0
      for await (const chunk of download) {
        hash.update(chunk as Buffer)
        // Held up now and then, so that windows close and open again
        if (++chunks % 50 === 0) await new Promise(resolve => setTimeout(resolve, 5))
      }
      assert.equal(hash.digest('hex'), createHash('sha256').update(body).digest('hex'))
    })

    test('each chunk of an answer arrives before the upstream has sent the next', async () => {
      const stream = session.request({ ':path': '/raw/chunks' })
      const chunks: string[] = []
      stream.setEncoding('utf8').on('data', chunk => chunks.push(chunk as string))
      answer = ({ socket }) => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        const say = (): void => void socket.write(`3\r\n${chunks.length}..\r\n`)
        stream.on('data', () => (chunks.length < 5 ? say() : socket.write('0\r\n\r\n')))
        say()
      }
      await once(stream, 'end')
      assert.deepEqual(chunks, ['0..', '1..', '2..', '3..', '4..'])
    })

    test('trailers pass both ways, and none that would change the message', async () => {
      const whole = '4\r\nbody\r\n0\r\nx-check: sum\r\n\r\n'
      answer = ({ socket }) => {
        const reply = (): void => {
          if (!recording.bytes().endsWith(whole)) return void socket.once('data', reply)
          socket.end(
            'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\nX-Request-ID: evil\r\nX-Sum: 43\r\n\r\n',
          )
        }
        reply()
      }
      const stream = session.request(
        { ':method': 'POST', ':path': '/raw/trailers' },
        { waitForTrailers: true },
      )
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-check': 'sum', 'x-company-id': 'evil' }))
      stream.end('body')
      const { trailers, text } = await answerTo(stream)
      assert.equal(text, 'ok')
      assert.deepEqual(Object.entries(trailers), [['x-sum', '42, 43']])
    })

    test('an answer before the request is whole arrives, and the stream is closed without an error', async () => {
      const stream = session.request({ ':method': 'POST', ':path': '/small/x' })
      const answered = answerTo(stream)
      const chunk = Buffer.alloc(16_384)
      const send = (): void => {
        while (!stream.closed && !stream.destroyed && stream.write(chunk));
      }
      stream.on('drain', send)
      send()
      const { status, text, code } = await answered
      assert.deepEqual([status, code], [413, 0])
      assert.equal((JSON.parse(text) as { code: string }).code, 'body_too_large')
      assert.equal((await request(session, { ':path': '/hello' })).text, 'hello')
    })

    test('the rest of a short request that nobody reads is taken all the same', async () => {
      const stream = session.request({ ':method': 'POST', ':path': '/none', 'content-length': '10' })
      stream.write('12345')
      const [headers] = await once(stream, 'response')
      assert.equal(headers[':status'], 404)
      stream.end('67890')
      assert.equal((await answerTo(stream)).code, 0)
    })
  })

  test('100 Continue and 103 Early Hints reach the client', async () => {
    answer = ({ socket }) => {
      socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n')
      socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    }
    const stream = session.request({
      ':method': 'POST',
      ':path': '/raw/expect',
      expect: '100-continue',
      'content-length': '4',
    })
    stream.on('continue', () => stream.end('body'))
    const { status, early } = await answerTo(stream)
    assert.equal(status, 200)
    assert.deepEqual(
      early.map(section => [(section as Record<string, unknown>)[':status'], section.link]),
      [
        [103, '</a.css>; rel=preload'],
        [100, undefined],
      ],
    )
  })

  describe('an end that is none', () => {
    test('of an answer resets its stream, and no other', async () => {
      answer = ({ socket }) => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n')
        setTimeout(() => socket.destroy(), 50)
      }
      const other = request(session, { ':path': '/hello' })
      const broken = await request(session, { ':path': '/raw/broken' })
      assert.deepEqual([broken.status, broken.text, broken.code], [200, 'part', 2])
      assert.equal((await other).text, 'hello')
      const line = await gateway.logged(({ path }) => path === '/raw/broken')
      assert.deepEqual([line.outcome, line.code, line.protocol], ['broken', 'upstream_reset', 'HTTP/2'])
    })

    test('a client that takes its request back ends it at the upstream', async () => {
      answer = () => {}
      const next = recording.next()
      const stream = session.request({ ':path': '/raw/taken-back' })
      stream.on('error', () => {})
      const { socket } = await next
      stream.close(8)
      await once(socket, 'close')
      const line = await gateway.logged(({ path }) => path === '/raw/taken-back')
      assert.deepEqual([line.outcome, line.code], ['client_gone', 'client_gone'])
    })

    test('a body that is broken off never looks whole to the upstream', async () => {
      for (const code of [0, 8]) {
        const path = `/web/broken-${code}`
        const connection = await openFrames(gateway.url)
        connection.write(
          frame(FRAME.headers, END_HEADERS, 1, postHead(path)),
          frame(FRAME.data, 0, 1, Buffer.from('some')),
        )
        const upstream = await web.request(path)
        connection.write(resetFrame(1, code))
        assert.equal(await upstream.whole, false)
        connection.socket.destroy()
      }
    })

    test('a request that waits for its upstream is taken back with all that was sent of it', async () => {
      answer = () => {}
      for (const code of [0, 8]) {
        const next = recording.next()
        const holding = session.request({ ':path': '/one/holding' })
        holding.on('error', () => {})
        await next
        const path = `/one/waiting-${code}`
        const connection = await openFrames(gateway.url)
        connection.write(
          frame(FRAME.headers, END_HEADERS, 1, postHead(path)),
          ...Array.from({ length: 4 }, () => frame(FRAME.data, 0, 1, Buffer.alloc(15_000))),
          frame(FRAME.ping, 0, 0, Buffer.alloc(8)),
        )
        await connection.next(({ type }) => type === FRAME.ping)
        connection.write(resetFrame(1, code))
        const line = await gateway.logged(record => record.path === path)
        assert.deepEqual([line.outcome, line.code], ['client_gone', 'client_gone'])
        connection.socket.destroy()
        holding.close(8)
      }
    })

    test('a client that leaves ends all that it asked for', async () => {
      answer = () => {}
      const leaving = await open()
      const upstreams = []
      for (const i of [1, 2, 3]) {
        const next = recording.next()
        leaving.request({ ':path': `/raw/left-${i}` }).on('error', () => {})
        upstreams.push((await next).socket)
      }
      const closed = upstreams.map(socket => once(socket, 'close'))
      leaving.destroy()
      await Promise.all(closed)
    })
  })

  describe('what is no good request', () => {
    const refused = [
      ['a path that is no path', { ':path': '*', ':method': 'OPTIONS' }, 400, 'invalid_target'],
      ['a path with two meanings', { ':path': '/raw/../x' }, 400, 'ambiguous_path'],
      ['a path that is too long', { ':path': `/${'x'.repeat(9_000)}` }, 414, 'target_too_long'],
      ['an authority that is none', { ':authority': 'a b' }, 400, 'invalid_host'],
      ['a second host', { ':authority': 'a.test', host: 'b.test' }, 400, 'invalid_host'],
      ['an unknown scheme', { ':scheme': 'ftp' }, 400, 'invalid_target'],
      ['an unknown method', { ':method': 'BREW' }, 501, 'unsupported_method'],
      ['TRACE', { ':method': 'TRACE' }, 405, 'method_not_allowed'],
      ['an unknown expectation', { expect: 'wonders' }, 417, 'expectation_failed'],
      ['fields of 40 KB', { 'x-large': 'x'.repeat(40_000) }, 431, 'headers_too_large'],
    ] as const
    for (const [what, headers, status, code] of refused) {
      test(`${what} is answered with ${status}`, async () => {
        const seen = recording.requests.length
        const answered = await request(session, { ':path': '/raw/refused', ...headers })
        if (what === 'an authority that is none') {
          // Refused by the frame parser, or by the gateway: by no means passed on
          assert.ok(answered.status === 400 || answered.code === 1, `${answered.status} ${answered.code}`)
        } else {
          assert.equal(answered.status, status)
          assert.equal((JSON.parse(answered.text) as { code: string }).code, code)
        }
        assert.equal(recording.requests.length, seen)
      })
    }

    test('CONNECT opens no tunnel', async () => {
      const stream = session.request({ ':method': 'CONNECT', ':authority': recording.url.slice(7) })
      assert.equal((await answerTo(stream)).status, 405)
    })

    test('too many fields are 431', async () => {
      const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`x-${i}`, '1']))
      assert.equal((await request(session, { ':path': '/hello', ...many })).status, 431)
    })

    for (const [what, fields] of [
      ['Connection', [['connection', 'x-own']]],
      ['Transfer-Encoding', [['transfer-encoding', 'chunked']]],
      ['Upgrade', [['upgrade', 'websocket']]],
      ['TE other than trailers', [['te', 'gzip']]],
      ['a name in capitals', [['X-Own', '1']]],
      [
        'two lengths',
        [
          ['content-length', '1'],
          ['content-length', '2'],
        ],
      ],
      [
        'a pseudo-field behind a field',
        [
          ['x-own', '1'],
          [':path', '/hello'],
        ],
      ],
    ] as const) {
      test(`a section with ${what} is malformed: its stream is reset`, async () => {
        const connection = await openFrames(gateway.url)
        connection.write(getFrame(1, '/raw/malformed', fields), getFrame(3, '/hello'))
        const reset = await connection.next(({ type, stream }) => type === FRAME.reset && stream === 1)
        assert.equal(reset.payload.readUInt32BE(), 1)
        const answered = await connection.next(({ stream }) => stream === 3)
        assert.equal(answered.type, FRAME.headers)
        connection.socket.destroy()
        assert.ok(!recording.bytes().includes('malformed'))
      })
    }

    test('a line break in a value never becomes a field', async () => {
      answer = answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      for (const value of ['1\r\nx-company-id: evil', '1\nx-company-id: evil', '1\0', '1\r']) {
        const connection = await openFrames(gateway.url)
        connection.write(getFrame(1, '/raw/breaks', [['x-broken', value]]))
        await connection.next(({ stream }) => stream === 1)
        connection.socket.destroy()
      }
      assert.ok(!/evil/.test(recording.bytes().slice(recording.bytes().indexOf('/raw/breaks'))))
    })

    test('a request without any host is 400, and one with a Host alone is served', async () => {
      const start = [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/hello'],
      ] as const
      const connection = await openFrames(gateway.url)
      const flags = END_HEADERS | END_STREAM
      connection.write(
        frame(FRAME.headers, flags, 1, section(start)),
        frame(FRAME.headers, flags, 3, section([...start, ['host', 'a.test']])),
      )
      const statusOf = async (id: number): Promise<string> => {
        const { payload } = await connection.next(
          ({ type, stream }) => type === FRAME.headers && stream === id,
        )
        // Indexed fields of RFC 7541 Appendix A: 8 is 200, 12 is 400
        return payload[0] === 0x88 ? '200' : payload[0] === 0x8c ? '400' : payload.toString('latin1')
      }
      assert.match(await statusOf(3), /200/)
      const first = connection.frames.find(({ stream }) => stream === 1)
      assert.ok(first !== undefined && (first.type === FRAME.reset || (await statusOf(1)) === '400'))
      connection.socket.destroy()
    })
  })

  test('what the two versions answer on one port is the same', async () => {
    const plain = await fetch(`${gateway.url}/hello`)
    assert.equal(await plain.text(), 'hello')
    assert.equal((await fetch(`${gateway.url}/web/x`, { method: 'POST', body: 'b' })).status, 200)
  })
})

/** The section of a request whose body follows. */
function postHead(path: string): Buffer {
  return section([
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', 'gateway.test'],
    [':path', path],
  ])
}
