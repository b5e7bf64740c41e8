/** Answers as upstreams may send them: every framing, interim answers, trailers, in one piece or byte by byte. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { startConfigured } from './support/configured.ts'
import { openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw } from './support/raw.ts'
import {
  type Answerer,
  answerWith,
  OK,
  type RecordingUpstream,
  recordingUpstream,
} from './support/upstream.ts'

let gateway: GatewayProcess
let upstream: RecordingUpstream
/** What the upstream does with the next requests. */
let answer: Answerer = answerWith(OK)

before(async () => {
  upstream = await recordingUpstream(request => answer(request))
  gateway = await startConfigured({ routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }] })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

const request = (method: string, fields = '', version = '1.1'): string =>
  `${method} /public/x HTTP/${version}\r\nHost: a\r\n${fields}\r\n`

/** One exchange on a connection of its own, to its end. */
async function ask(told: Answerer, method = 'GET', fields = '', version = '1.1') {
  answer = told
  try {
    const bytes = request(method, `Connection: close\r\n${fields}`, version)
    return await exchangeRaw(gateway.port, bytes)
  } finally {
    answer = answerWith(OK)
  }
}

/** The body behind chunked, or as it is. */
function bodyOf(text: string): string {
  const { body, values } = parseAnswer(text)
  if (values('transfer-encoding').length === 0) return body
  let whole = ''
  let at = 0
  for (;;) {
    const end = body.indexOf('\r\n', at)
    assert.notEqual(end, -1, `cut short: ${body}`)
    const size = Number.parseInt(body.slice(at, end), 16)
    if (size === 0) return whole
    whole += body.slice(end + 2, end + 2 + size)
    at = end + 2 + size + 2
  }
}

const inBytes =
  (text: string): Answerer =>
  async ({ socket }) => {
    socket.setNoDelay(true)
    for (const byte of text) {
      socket.write(byte, 'latin1')
      await turn()
    }
  }

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

describe('the client gets the body that the upstream sent', () => {
  const table: Record<string, string> = {
    'with a length': 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world',
    'with leading zeros in the length': 'HTTP/1.1 200 OK\r\nContent-Length: 0011\r\n\r\nhello world',
    'in chunks': `${CHUNKED}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
    'in chunks with extensions': `${CHUNKED}5;a=b\r\nhello\r\n006;c="d"\r\n world\r\n0;e\r\n\r\n`,
    'in chunks with trailers': `${CHUNKED}b\r\nhello world\r\n0\r\nX-Sum: 1\r\n\r\n`,
    'after 100 and 103': `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n${CHUNKED}b\r\nhello world\r\n0\r\n\r\n`,
    'with lower-case names': 'HTTP/1.1 200 OK\r\ncontent-length:11\r\n\r\nhello world',
    'with no reason': 'HTTP/1.1 200\r\nContent-Length: 11\r\n\r\nhello world',
  }
  for (const [name, text] of Object.entries(table)) {
    for (const [how, told] of [
      ['at once', answerWith(text)],
      ['byte by byte', inBytes(text)],
    ] as const) {
      test(`${name}, ${how}`, async () => {
        const raw = await ask(told)
        assert.equal(parseAnswer(raw.text).status, 200, raw.text)
        assert.equal(bodyOf(raw.text), 'hello world')
        assert.equal(raw.end, 'fin')
      })
    }
  }
  test('until close: the end comes as an end', async () => {
    const raw = await ask(({ socket }) => socket.end('HTTP/1.1 200 OK\r\n\r\nhello world'))
    assert.equal(bodyOf(raw.text), 'hello world')
  })
  test('from an HTTP/1.0 upstream', async () => {
    const raw = await ask(({ socket }) => socket.end('HTTP/1.0 200 OK\r\nServer: old\r\n\r\nhello world'))
    assert.equal(bodyOf(raw.text), 'hello world')
  })
  test('in chunks, for an HTTP/1.0 client without chunks', async () => {
    const raw = await ask(answerWith(`${CHUNKED}5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`), 'GET', '', '1.0')
    const { values, body } = parseAnswer(raw.text)
    assert.deepEqual([values('transfer-encoding'), body, raw.end], [[], 'hello world', 'fin'])
  })
  test('with its length kept, so that downloads know their size', async () => {
    const raw = await ask(answerWith('HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world'))
    const { values } = parseAnswer(raw.text)
    assert.deepEqual([values('content-length'), values('transfer-encoding')], [['11'], []])
  })
  test('each part as soon as it was sent', async () => {
    let proceed = (): void => {}
    const going = new Promise<void>(resolve => {
      proceed = resolve
    })
    answer = async ({ socket }) => {
      socket.write(`${CHUNKED}5\r\nfirst\r\n`)
      await going
      socket.write('6\r\nsecond\r\n0\r\n\r\n')
    }
    const connection = await openConnection(gateway.port)
    connection.write(request('GET'))
    assert.doesNotMatch(await connection.until(text => text.includes('first')), /second/)
    proceed()
    await connection.until(text => text.includes('second'))
    connection.leave()
    answer = answerWith(OK)
  })
  test('trailers reach a client that takes them', async () => {
    const told = answerWith(
      `${CHUNKED}2\r\nhi\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\nSet-Cookie: evil\r\n\r\n`,
    )
    const { text } = await ask(told, 'GET', 'TE: trailers\r\n')
    assert.match(text, /\r\n0\r\nX-Sum: 1\r\n/i)
    assert.doesNotMatch(text, /evil|Content-Length: 3/i)
  })
})

describe('answers without a body end with their head', () => {
  const table: Record<string, { method?: string; text: string; status: number; length?: string }> = {
    'HEAD with a length': {
      method: 'HEAD',
      text: 'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n',
      status: 200,
      length: '11',
    },
    'HEAD with chunked': { method: 'HEAD', text: CHUNKED, status: 200 },
    'HEAD with neither': { method: 'HEAD', text: 'HTTP/1.1 200 OK\r\n\r\n', status: 200 },
    '204': { text: 'HTTP/1.1 204 No Content\r\n\r\n', status: 204 },
    '304 with a length': { text: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 11\r\n\r\n', status: 304 },
    '304 with chunked': {
      text: 'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n',
      status: 304,
    },
    '200 with length 0': { text: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', status: 200, length: '0' },
  }
  for (const [name, { method = 'GET', text, status, length }] of Object.entries(table)) {
    test(name, async () => {
      const raw = await ask(answerWith(text), method)
      const { values, body, ...answered } = parseAnswer(raw.text)
      assert.deepEqual([answered.status, body, raw.end], [status, '', 'fin'])
      if (length !== undefined) assert.deepEqual(values('content-length'), [length])
      if (status === 204) assert.deepEqual(values('content-length'), [])
    })
    test(`${name}, with a body all the same: nothing of it reaches this client or the next`, async () => {
      const raw = await ask(answerWith(`${text}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`), method)
      assert.ok([status, 502].includes(parseAnswer(raw.text).status), raw.text)
      assert.equal(raw.answers, 1)
      assert.doesNotMatch(raw.text, /evil/)
      for (let times = 0; times < 3; times++) assert.match((await ask(answerWith(OK))).text, /\{"ok":true\}/)
    })
  }
})

describe('interim answers', () => {
  const EARLY = 'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n'
  test('103 is passed on before the answer is there', async () => {
    let proceed = (): void => {}
    answer = ({ socket }) => {
      socket.write(EARLY)
      proceed = () => socket.write(OK)
    }
    const connection = await openConnection(gateway.port)
    connection.write(request('GET'))
    const early = await connection.until(text => text.includes('\r\n\r\n'))
    assert.match(early, /^HTTP\/1\.1 103 [\s\S]*Link: <\/a\.css>; rel=preload\r\n/i)
    assert.doesNotMatch(early, / 200 /)
    proceed()
    await connection.until(text => text.includes('{"ok":true}'))
    connection.leave()
    answer = answerWith(OK)
  })
  test('five of them are passed on in order', async () => {
    const hints = [1, 2, 3, 4, 5].map(index => `HTTP/1.1 103 Early Hints\r\nLink: </${index}>\r\n\r\n`)
    const { text } = await ask(answerWith(hints.join('') + OK))
    assert.deepEqual(
      [...text.matchAll(/link: <\/(\d)>/gi)].map(match => match[1]),
      ['1', '2', '3', '4', '5'],
    )
  })
  test('none reaches an HTTP/1.0 client, which would take it for the answer', async () => {
    const { text } = await ask(answerWith(EARLY + OK), 'GET', '', '1.0')
    assert.match(text, /^HTTP\/1\.[01] 200 /)
  })
  test('fields of a 103 are not merged into the answer, and its hop-by-hop fields stay', async () => {
    const hint =
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Foo\r\nX-Foo: a\r\nTransfer-Encoding: chunked\r\n\r\n'
    const { text } = await ask(answerWith(hint + OK))
    assert.doesNotMatch(text, /x-foo|transfer-encoding/i)
    assert.deepEqual(parseAnswer(text).values('link'), [])
  })
  test('without end are ended by the gateway', async () => {
    const { status, text } = await ask(({ socket }) => {
      const flood = (): void => {
        while (!socket.destroyed && socket.write(EARLY.repeat(100)));
      }
      socket.on('drain', flood)
      flood()
    })
    assert.equal(parseAnswer(text.slice(text.search(/HTTP\/1\.1 [2-5]/))).status, 502, String(status))
  })
})

describe('Expect: 100-continue', () => {
  const post = request('POST', 'Content-Length: 5\r\nExpect: 100-continue\r\n')
  test('is asked of the upstream; 100 comes when it says so', async () => {
    answer = () => {}
    const connection = await openConnection(gateway.port)
    const arrived = upstream.next()
    connection.write(post)
    const { socket, values } = await arrived
    assert.deepEqual(
      values('expect').map(value => value.toLowerCase()),
      ['100-continue'],
    )
    assert.equal(connection.text(), '')
    socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    await connection.until(text => text.startsWith('HTTP/1.1 100'))
    connection.write('hello')
    socket.on('data', () => socket.write(OK))
    assert.match(
      await connection.until(text => text.includes('{"ok":true}')),
      /^HTTP\/1\.1 100 [\s\S]*HTTP\/1\.1 200 /,
    )
    connection.leave()
    // It holds the rest of a body that is no head: the next test gets a connection of its own
    socket.destroy()
    answer = answerWith(OK)
  })
  test('refused by the upstream, the client reads the refusal and no 100', async () => {
    const { text } = await ask(
      answerWith('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno'),
      'POST',
      'Content-Length: 5\r\nExpect: 100-continue\r\n',
    )
    assert.match(text, /^HTTP\/1\.1 401 /)
    assert.match((await ask(answerWith(OK))).text, /\{"ok":true\}/)
  })
  test('from an HTTP/1.0 client gets no 100', async () => {
    const connection = await openConnection(gateway.port)
    connection.write(
      `${request('POST', 'Content-Length: 9\r\nExpect: 100-continue\r\n', '1.0')}hello\r\n\r\n`,
    )
    assert.match(await connection.until(text => text.includes('\r\n\r\n')), /^HTTP\/1\.[01] 200 /)
    connection.leave()
  })
  test('of something else is 417', async () => {
    const { status } = await ask(answerWith(OK), 'GET', 'Expect: coffee\r\n')
    assert.ok([200, 417].includes(status), String(status))
  })
})
