/** Upstreams that break, lie, say too much or say nothing: 502 or 504, never a whole-looking half, never a reuse. */

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, afterEach, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { startConfigured } from './support/configured.ts'
import { type Connection, openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import {
  type Answerer,
  answerWith,
  OK,
  type RecordingUpstream,
  recordingUpstream,
} from './support/upstream.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
const LENGTH = 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n'

let gateway: GatewayProcess
let upstream: RecordingUpstream
let answer: Answerer = answerWith(OK)
/** Opened before the first fault, asked again after the last. */
let witness: Connection

before(async () => {
  upstream = await recordingUpstream(request => answer(request))
  const { url } = upstream
  gateway = await startConfigured({
    routes: [
      { path: '/public/*', auth: 'none', upstream: url },
      {
        path: '/hasty/*',
        auth: 'none',
        upstream: { url, timeouts: { firstByte: '500ms', idle: '500ms' } },
      },
    ],
  })
  witness = await openConnection(gateway.port)
  witness.write('GET /public/witness HTTP/1.1\r\nHost: a\r\n\r\n')
  await witness.until(wholeAnswer)
})

afterEach(() => {
  answer = answerWith(OK)
})

after(async () => {
  witness?.leave()
  await gateway?.stop('SIGKILL')
  await upstream?.close()
})

const get = (path: string, version = '1.1'): string => `GET ${path} HTTP/${version}\r\nHost: a\r\n\r\n`

async function assertAlive(): Promise<void> {
  answer = answerWith(OK)
  for (let times = 0; times < 3; times++) {
    const response = await fetch(`${gateway.url}/public/alive`)
    assert.deepEqual([response.status, await response.text()], [200, '{"ok":true}'])
  }
}

/** Resolves when the gateway closed its side; the upstream in these tests does not close its own. */
async function closed(socket: Socket): Promise<void> {
  if (socket.closed) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new Error('its connection was left open')), 3_000)
  socket.once('close', resolve)
  await promise
  clearTimeout(timer)
}

describe('an answer that breaks off', () => {
  const reset = (socket: Socket): void => void socket.resetAndDestroy()
  const end = (socket: Socket): void => void socket.end()
  const say = (text: string) => (socket: Socket) => void socket.write(text)
  const table: Record<string, { start: string; breaks: (socket: Socket) => void }> = {
    'short of its length, closed': { start: `${LENGTH}begun`, breaks: end },
    'short of its length, reset': { start: `${LENGTH}begun`, breaks: reset },
    'without its last chunk': { start: `${CHUNKED}5\r\nbegun\r\n`, breaks: end },
    'within a chunk': { start: `${CHUNKED}9\r\nbegun`, breaks: end },
    'between size and data': { start: `${CHUNKED}5\r\nbegun\r\n9\r\n`, breaks: end },
    'within its trailers': { start: `${CHUNKED}5\r\nbegun\r\n0\r\nX-T: a`, breaks: end },
    'chunked and reset': { start: `${CHUNKED}5\r\nbegun\r\n`, breaks: reset },
    'until close and reset': { start: 'HTTP/1.1 200 OK\r\n\r\nbegun', breaks: reset },
    'with a bad chunk size': { start: `${CHUNKED}5\r\nbegun\r\n`, breaks: say('0x5\r\nhello\r\n0\r\n\r\n') },
    'with a huge chunk size': {
      start: `${CHUNKED}5\r\nbegun\r\n`,
      breaks: say('fffffffffffffffff\r\nhello'),
    },
    'with a chunk that is too long': {
      start: `${CHUNKED}5\r\nbegun\r\n`,
      breaks: say('2\r\nhello\r\n0\r\n\r\n'),
    },
    'with endless chunk extensions': {
      start: `${CHUNKED}5\r\nbegun\r\n`,
      breaks: say(`5;${'x'.repeat(200_000)}`),
    },
    'with endless trailers': {
      start: `${CHUNKED}5\r\nbegun\r\n0\r\n`,
      breaks: say('X-T: abc\r\n'.repeat(100_000)),
    },
    'with a broken trailer': { start: `${CHUNKED}5\r\nbegun\r\n0\r\n`, breaks: say('X-T : a\rb\r\n\r\n') },
  }
  for (const [name, { start, breaks }] of Object.entries(table)) {
    for (const version of ['1.1', '1.0']) {
      test(`${name}: an HTTP/${version} client sees it broken`, async () => {
        answer = ({ socket }) => void socket.write(start)
        const connection = await openConnection(gateway.port)
        const arrived = upstream.next()
        connection.write(get('/public/breaks', version))
        const { socket } = await arrived
        await connection.until(text => text.includes('begun'))
        breaks(socket)
        const ended = await connection.ended()
        const { values } = parseAnswer(connection.text())
        const framed = values('content-length').length > 0 || values('transfer-encoding').length > 0
        // Without framing, the way the connection ends is all that tells half from whole
        if (framed) assert.notEqual(ended, 'open')
        else assert.equal(ended, 'reset')
        assert.doesNotMatch(connection.text(), /\r\n0\r\n/, 'it ended as if whole')
        await closed(socket)
        await assertAlive()
      })
    }
  }
  test('while the upload to it still runs: broken as well, not closed as if whole', async () => {
    answer = ({ socket }) => void socket.write('HTTP/1.1 200 OK\r\n\r\nbegun')
    const connection = await openConnection(gateway.port)
    const arrived = upstream.next()
    connection.write('POST /public/breaks HTTP/1.0\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun')
    const { socket } = await arrived
    await connection.until(text => text.endsWith('begun'))
    socket.resetAndDestroy()
    assert.equal(await connection.ended(), 'reset')
    await assertAlive()
  })
})

describe('an answer that is no HTTP is a 502, and its connection is dropped', () => {
  const ok = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n\r\nhello`
  const table: Record<string, string> = {
    'status 099': 'HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n',
    'status 000': 'HTTP/1.1 000 Low\r\nContent-Length: 0\r\n\r\n',
    'status 2000': 'HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n',
    'status 20': 'HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n',
    'status abc': 'HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n',
    'status -20': 'HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n',
    'no space after the status': 'HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/2.0': 'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n',
    'another protocol': 'SSH-2.0-OpenSSH_9.9\r\n\r\n',
    'no head at all': '<html>hello</html>\r\n\r\n',
    'control characters in the reason': 'HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n',
    'NUL in a value': ok('Content-Length: 5\r\nX-A: a\0b'),
    'bare CR in a value': ok('Content-Length: 5\r\nX-A: a\rSet-Cookie: evil=1'),
    'folded field': ok('Content-Length: 5\r\nX-A: a\r\n b'),
    'space before the colon': ok('Content-Length : 5'),
    'space in a name': ok('Content-Length: 5\r\nX A: b'),
    'no colon': ok('Content-Length: 5\r\nnonsense'),
    'empty name': ok('Content-Length: 5\r\n: a'),
    'a head of 300 KB': ok(`Content-Length: 5\r\nX-A: ${'x'.repeat(300_000)}`),
    '300 KB of small fields': ok(`Content-Length: 5\r\n${'X-A: b\r\n'.repeat(37_500)}X-B: c`),
    'a head that never ends': `HTTP/1.1 200 OK\r\n${'X-A: b\r\n'.repeat(100_000)}`,
    '101 that nobody asked for':
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    'length and chunked': ok('Content-Length: 5\r\nTransfer-Encoding: chunked'),
    'two lengths': ok('Content-Length: 5\r\nContent-Length: 6'),
    'two lengths in a list': ok('Content-Length: 5, 6'),
    'a signed length': ok('Content-Length: +5'),
    'a negative length': ok('Content-Length: -5'),
    'an empty length': ok('Content-Length:'),
    'a length past 64 bits': ok('Content-Length: 18446744073709551621'),
    'an unknown coding': ok('Transfer-Encoding: xchunked'),
    'chunked twice': ok('Transfer-Encoding: chunked, chunked'),
    'gzip as a transfer coding': ok('Transfer-Encoding: gzip, chunked'),
    'chunked with HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a malformed 103': `HTTP/1.1 103 Early Hints\r\nX A: b\r\n\r\n${OK}`,
  }
  for (const [name, text] of Object.entries(table)) {
    test(name, async () => {
      let socket: Socket | undefined
      answer = request => {
        socket = request.socket
        socket.write(text, 'latin1')
      }
      const { text: answered } = await exchangeRaw(gateway.port, get('/public/bad'), { until: wholeAnswer })
      assertProblem(answered, [502])
      assert.doesNotMatch(answered, /evil/)
      assert.ok(socket !== undefined)
      await closed(socket)
      await assertAlive()
    })
  }
  test('a TLS alert, from a port that speaks TLS only', async () => {
    answer = ({ socket }) => void socket.end(Buffer.from('15030100020246', 'hex'))
    const { text } = await exchangeRaw(gateway.port, get('/public/tls'), { until: wholeAnswer })
    assertProblem(text, [502])
    await assertAlive()
  })
  for (const how of ['end', 'resetAndDestroy'] as const) {
    test(`none at all, by ${how}`, async () => {
      answer = ({ socket }) => void socket[how]()
      const { text } = await exchangeRaw(gateway.port, get('/public/none'), { until: wholeAnswer })
      assertProblem(text, [502])
      await assertAlive()
    })
  }
})

describe('what an upstream says beyond its answer reaches nobody', () => {
  const evil = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
  const table: Record<string, string> = {
    'a second answer': evil,
    'bytes after its length': 'evil',
    'half an answer': evil.slice(0, 30),
    'an empty line': '\r\n',
    'a late interim answer': 'HTTP/1.1 103 Early Hints\r\nX-A: evil\r\n\r\n',
  }
  for (const [name, surplus] of Object.entries(table)) {
    for (const first of [OK, `${CHUNKED}b\r\n{"ok":true}\r\n0\r\n\r\n`]) {
      const framing = first === OK ? 'length' : 'chunked'
      test(`${name} together with an answer by ${framing}`, async () => {
        answer = answerWith(first + surplus)
        const raw = await exchangeRaw(
          gateway.port,
          get('/public/first').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'),
        )
        assert.doesNotMatch(raw.text, /evil/)
        assert.equal(raw.answers, 1)
        await assertAlive()
      })
    }
    test(`${name} while its connection is idle`, async () => {
      let socket: Socket | undefined
      answer = request => {
        socket = request.socket
        socket.write(OK)
      }
      await exchangeRaw(gateway.port, get('/public/first'), { until: wholeAnswer })
      assert.ok(socket !== undefined)
      socket.write(surplus)
      await closed(socket)
      await assertAlive()
    })
  }
})

describe('an upstream that keeps the gateway waiting', () => {
  const patient = async (start: string, piece: string): Promise<Connection> => {
    const sockets: Socket[] = []
    answer = ({ socket }) => {
      sockets.push(socket)
      socket.write(start)
      if (piece === '') return
      const timer = setInterval(() => socket.write(piece), 100)
      socket.on('close', () => clearInterval(timer))
    }
    const connection = await openConnection(gateway.port)
    connection.write(get('/hasty/x').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    assert.notEqual(await connection.ended(4_000), 'open')
    assert.equal(sockets.length, 1)
    for (const socket of sockets) await closed(socket)
    await assertAlive()
    return connection
  }
  test('silent: 504, and its connection is closed', async () => {
    assertProblem((await patient('', '')).text(), [504])
  })
  test('sending its head byte by byte: 504, and its connection is closed', async () => {
    assertProblem((await patient('HTTP/1.1 200 OK\r\nX-A: ', 'x')).text(), [504])
  })
  test('sending hints but no answer: 504, and its connection is closed', async () => {
    const hint = 'HTTP/1.1 103 Early Hints\r\n\r\n'
    const text = (await patient('', hint)).text()
    assertProblem(text.slice(text.search(/HTTP\/1\.1 5/)), [504])
  })
  for (const [name, start] of [
    ['length', `${LENGTH}begun`],
    ['chunked', `${CHUNKED}5\r\nbegun\r\n`],
  ] as const) {
    test(`silent within a body by ${name}: broken, not ended`, async () => {
      assert.match((await patient(start, '')).text(), /begun(\r\n)?$/)
    })
  }
  test('slow but not silent within a body: the answer arrives', async () => {
    answer = ({ socket }) => {
      socket.write(CHUNKED)
      let parts = 0
      const timer = setInterval(() => {
        socket.write(++parts < 8 ? '1\r\nx\r\n' : '0\r\n\r\n')
        if (parts === 8) clearInterval(timer)
      }, 100)
    }
    assert.equal(await (await fetch(`${gateway.url}/hasty/x`)).text(), 'xxxxxxx')
  })
})

test('a gzip bomb passes through as the bytes it is', async () => {
  const bomb = gzipSync(Buffer.alloc(20_000_000)).toString('latin1')
  answer = answerWith(
    `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n${bomb}`,
  )
  const { text } = await exchangeRaw(gateway.port, get('/public/bomb'), { until: wholeAnswer })
  assert.equal(parseAnswer(text).body === bomb, true)
})

test('the connection opened before all this still works, in the same process', async () => {
  const before = witness.text().length
  witness.write(get('/public/witness'))
  const text = await witness.until(all => wholeAnswer(all.slice(before)))
  assert.equal(parseAnswer(text.slice(before)).status, 200)
  assert.equal(gateway.child.exitCode, null)
})
