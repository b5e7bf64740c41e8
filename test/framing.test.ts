/** Request heads that could be read in two ways, or in none: refused at the door, and nobody else notices. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import { type Connection, openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'

const CHUNKED = 'Transfer-Encoding: chunked'
const BODY = '5\r\nhello\r\n0\r\n\r\n'

let gateway: GatewayProcess
let upstream: HttpUpstream
/** Opened before the first hostile byte, asked again after the last. */
let witness: Connection

before(async () => {
  upstream = await httpUpstream()
  gateway = await startConfigured({
    routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }],
  })
  witness = await openConnection(gateway.port)
  witness.write('GET /public/witness HTTP/1.1\r\nHost: a\r\n\r\n')
  await witness.until(wholeAnswer)
})

after(async () => {
  witness?.leave()
  await gateway?.stop()
  await upstream?.close()
})

/** Another request is still answered, by an upstream that saw nothing of the one before. */
async function assertUnharmed(seenBefore: number): Promise<void> {
  const response = await fetch(`${gateway.url}/public/control`)
  assert.equal(response.status, 200)
  assert.deepEqual(
    upstream.requests.slice(seenBefore).map(({ target }) => target),
    ['/public/control'],
  )
}

interface Refused {
  readonly bytes: string
  readonly statuses?: readonly number[]
}

/** Sends it, expects a problem, the end of the connection, and an upstream that saw nothing. */
async function assertRefused({ bytes, statuses = [400] }: Refused): Promise<void> {
  const seen = upstream.requests.length
  const answer = await exchangeRaw(gateway.port, bytes)
  assertProblem(answer.text, statuses)
  assert.equal(answer.answers, 1, answer.text)
  assert.notEqual(answer.end, 'open', 'the connection was left open')
  await assertUnharmed(seen)
}

const post = (fields: string, body = BODY): string =>
  `POST /public/t HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n${body}`
const get = (fields: string): string => `GET /public/t HTTP/1.1\r\n${fields}\r\n\r\n`

describe('refuses a body length that is not one plain number', () => {
  const table: Record<string, Refused> = {
    'with chunked': { bytes: post(`Content-Length: 5\r\n${CHUNKED}`) },
    'after chunked': { bytes: post(`${CHUNKED}\r\nContent-Length: 5`) },
    'two of them': { bytes: post('Content-Length: 5\r\nContent-Length: 6', 'hello!') },
    'the same twice': { bytes: post('Content-Length: 5\r\nContent-Length: 5', 'hello') },
    'with a sign': { bytes: post('Content-Length: +5', 'hello') },
    negative: { bytes: post('Content-Length: -5', 'hello') },
    hexadecimal: { bytes: post('Content-Length: 0x5', 'hello') },
    'a list': { bytes: post('Content-Length: 5,6', 'hello!') },
    'a list of the same': { bytes: post('Content-Length: 5, 5', 'hello') },
    'with an underscore': { bytes: post('Content-Length: 1_0', 'hellohello') },
    'with a space inside': { bytes: post('Content-Length: 1 0', 'hellohello') },
    'with a fraction': { bytes: post('Content-Length: 5.0', 'hello') },
    empty: { bytes: post('Content-Length: ', 'hello') },
    'past 64 bits': { bytes: post('Content-Length: 18446744073709551621', 'hello'), statuses: [400, 413] },
    'past 53 bits': { bytes: post('Content-Length: 9007199254740993', 'hello'), statuses: [400, 413] },
  }
  for (const [name, refused] of Object.entries(table)) test(name, () => assertRefused(refused))
})

describe('refuses transfer codings other than chunked alone', () => {
  const values = [
    'xchunked',
    'gzip',
    'chunked, gzip',
    'gzip, chunked',
    'chunked, chunked',
    'chunked, identity',
  ]
  const odd = [
    'identity',
    'chunked;q=1',
    'chunked,',
    '"chunked"',
    '\x0bchunked',
    '\xa0chunked',
    'chun\tked',
    '',
  ]
  for (const value of [...values, ...odd]) {
    test(JSON.stringify(value), () =>
      assertRefused({ bytes: post(`Transfer-Encoding: ${value}`), statuses: [400, 501] }),
    )
  }
  test('two lines of it', () =>
    assertRefused({ bytes: post(`${CHUNKED}\r\n${CHUNKED}`), statuses: [400, 501] }))
  test('gzip on a second line', () =>
    assertRefused({ bytes: post(`${CHUNKED}\r\nTransfer-Encoding: gzip`), statuses: [400, 501] }))
  test('chunked from an HTTP/1.0 client: refused, or closed after its one answer', async () => {
    const bytes = `POST /public/t HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n${CHUNKED}\r\n\r\n${BODY}GET /public/u HTTP/1.0\r\n\r\n`
    const { answers, end, status } = await exchangeRaw(gateway.port, bytes)
    assert.equal(answers, 1)
    assert.ok([200, 400].includes(status), String(status))
    assert.notEqual(end, 'open')
  })
})

describe('refuses field lines that another parser could read otherwise', () => {
  const table: Record<string, string> = {
    'space before the colon': post('Transfer-Encoding : chunked'),
    'tab before the colon': post('Transfer-Encoding\t: chunked'),
    'no-break space in the name': post('Transfer-Encoding\xa0: chunked'),
    'no-break space before the name': post('\xa0Transfer-Encoding: chunked'),
    'folded field': post('X-A: b\r\n Transfer-Encoding: chunked'),
    'folded value': post('Transfer-Encoding:\r\n chunked'),
    'folded with a tab': post('X-A: b\r\n\tc'),
    'space before the first field': 'GET /public/t HTTP/1.1\r\n Host: a\r\n\r\n',
    'no colon': get('Host: a\r\nX-A'),
    'empty name': get('Host: a\r\n: b'),
    'bare CR in a value': get('Host: a\r\nX-A: b\rc'),
    'bare CR before a field': get('Host: a\r\nX-A: b\rX-B: c'),
    'bare LF between fields': get('Host: a\nX-A: b'),
    'bare LF in a value': get('Host: a\r\nX-A: b\nX-B: c'),
    'bare LF at every line': 'GET /public/t HTTP/1.1\nHost: a\n\n',
    'bare LF as the empty line': 'GET /public/t HTTP/1.1\r\nHost: a\r\n\n',
    'bare CR as the empty line': 'GET /public/t HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n',
    'NUL in a value': get('Host: a\r\nX-A: b\0c'),
    'NUL in a name': get('Host: a\r\nX\0A: b'),
    'ESC in a value': get('Host: a\r\nX-A: b\x1bc'),
    'DEL in a value': get('Host: a\r\nX-A: b\x7fc'),
    'parentheses in a name': get('Host: a\r\nX(A): b'),
  }
  for (const [name, bytes] of Object.entries(table)) test(name, () => assertRefused({ bytes }))
})

describe('refuses request lines of other protocols and versions', () => {
  const table: Record<string, string> = {
    'no version': 'GET /public/t\r\n\r\n',
    'no version, with fields': 'GET /public/t\r\nHost: a\r\n\r\n',
    'HTTP/2.0': 'GET /public/t HTTP/2.0\r\nHost: a\r\n\r\n',
    'HTTP/1.2': 'GET /public/t HTTP/1.2\r\nHost: a\r\n\r\n',
    'HTTP/0.9': 'GET /public/t HTTP/0.9\r\nHost: a\r\n\r\n',
    'HTTP/1.10': 'GET /public/t HTTP/1.10\r\nHost: a\r\n\r\n',
    'lower case': 'GET /public/t http/1.1\r\nHost: a\r\n\r\n',
    'RTSP/1.0': 'OPTIONS /public/t RTSP/1.0\r\nHost: a\r\n\r\n',
    'ICE/1.0': 'SOURCE /public/t ICE/1.0\r\nHost: a\r\n\r\n',
    'two spaces': 'GET  /public/t HTTP/1.1\r\nHost: a\r\n\r\n',
    'a space at the end': 'GET /public/t HTTP/1.1 \r\nHost: a\r\n\r\n',
    'a tab': 'GET\t/public/t HTTP/1.1\r\nHost: a\r\n\r\n',
    'a space in the target': 'GET /public/t x HTTP/1.1\r\nHost: a\r\n\r\n',
    'bare CR': 'GET /public/t HTTP/1.1\rHost: a\r\n\r\n',
    'NUL in the target': 'GET /public/\0 HTTP/1.1\r\nHost: a\r\n\r\n',
    'TLS to the plain port': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 HTTP/1.1\r\n\r\n',
  }
  for (const [name, bytes] of Object.entries(table)) {
    test(name, () => assertRefused({ bytes, statuses: [400, 501, 505] }))
  }
  test('the HTTP/2 preface, within a second', async () => {
    const seen = upstream.requests.length
    const started = performance.now()
    const { end } = await exchangeRaw(gateway.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    assert.notEqual(end, 'open')
    assert.ok(performance.now() - started < 2_500)
    await assertUnharmed(seen)
  })
})

describe('refuses methods that are no business of a gateway', () => {
  test('TRACE', async () => {
    const { text } = await exchangeRaw(gateway.port, 'TRACE /public/t HTTP/1.1\r\nHost: a\r\n\r\n', {
      until: wholeAnswer,
    })
    assertProblem(text, [405, 501])
  })
  test('CONNECT', async () => {
    const seen = upstream.requests.length
    const { text } = await exchangeRaw(gateway.port, 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n', {
      until: wholeAnswer,
    })
    assertProblem(text, [400, 404, 405, 501])
    await assertUnharmed(seen)
  })
  for (const method of ['get', 'BREW', 'G(T']) {
    test(method, () =>
      assertRefused({ bytes: `${method} /public/t HTTP/1.1\r\nHost: a\r\n\r\n`, statuses: [400, 405, 501] }),
    )
  }
})

describe('refuses a Host that names no single host', () => {
  const table: Record<string, string> = {
    missing: 'X-A: b',
    'the same twice': 'Host: a\r\nHost: a',
    'two of them': 'Host: a\r\nHost: b',
    'a list': 'Host: a,b',
    'with a user': 'Host: u@h',
    'with a path': 'Host: h/x',
    'with a broken port': 'Host: h:80abc',
    'with a port past the last': 'Host: h:99999',
    'with a space': 'Host: a b',
    'with a backslash': 'Host: a\\b',
    'with a query': 'Host: a?b',
    'with a broken bracket': 'Host: [::1',
    'not ASCII': 'Host: \xe4.example',
  }
  for (const [name, fields] of Object.entries(table)) {
    test(name, async () => {
      const seen = upstream.requests.length
      const { text } = await exchangeRaw(gateway.port, get(fields), { until: wholeAnswer })
      assertProblem(text, [400])
      await assertUnharmed(seen)
    })
  }
  for (const host of [
    'a',
    'a:8080',
    'a.example.',
    '[::1]:8080',
    '127.0.0.1',
    'xn--bcher-kva.example',
    'a_b',
  ]) {
    test(`but takes ${host}`, async () => {
      const { text } = await exchangeRaw(gateway.port, get(`Host: ${host}`), { until: wholeAnswer })
      assert.equal(parseAnswer(text).status, 200, text)
    })
  }
  test('but takes HTTP/1.0 without a Host, and closes', async () => {
    const { status, end } = await exchangeRaw(gateway.port, 'GET /public/t HTTP/1.0\r\n\r\n')
    assert.equal(status, 200)
    assert.notEqual(end, 'open')
  })
})

describe('bounds what a head may hold', () => {
  test('a target of 100 KB is 414', () =>
    assertRefused({
      bytes: `GET /public/${'x'.repeat(100_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
      statuses: [414],
    }))
  test('a field of 100 KB is 431', () =>
    assertRefused({ bytes: get(`Host: a\r\nX-A: ${'x'.repeat(100_000)}`), statuses: [431] }))
  test('a head that never ends is 431', () =>
    assertRefused({
      bytes: `GET /public/t HTTP/1.1\r\nHost: a\r\n${'X-A: b\r\n'.repeat(20_000)}`,
      statuses: [431],
    }))
  for (const count of [150, 2_001, 10_000]) {
    test(`${count} fields are all forwarded or refused, never cut off`, async () => {
      const seen = upstream.requests.length
      const fields = Array.from({ length: count }, (_, index) => `X${index}: v`).join('\r\n')
      const { text } = await exchangeRaw(gateway.port, get(`Host: a\r\n${fields}`), { until: wholeAnswer })
      const [request] = upstream.requests.slice(seen)
      if (request === undefined) {
        assertProblem(text, [431])
        assert.notEqual(count, 150)
        return
      }
      const kept = request.message.rawHeaders.filter(name => /^x\d+$/i.test(name)).length
      assert.equal(kept, count)
    })
  }
})

describe('takes what is unusual but plain', () => {
  const table: Record<string, string> = {
    'Transfer-Encoding in another letter case': post('tRANSFER-eNCODING: Chunked'),
    'a tab after the colon': post('Transfer-Encoding:\tchunked'),
    'no space after the colon': post('Transfer-Encoding:chunked'),
    'a field named __proto__': get('Host: a\r\n__proto__: x'),
    'Connection: __proto__': get('Host: a\r\nConnection: __proto__, constructor'),
    'a field with no value': get('Host: a\r\nX-A:'),
    'Latin-1 in a value': get('Host: a\r\nX-A: \xe4\xf6'),
    'an empty line before the request': `\r\n${get('Host: a')}`,
  }
  for (const [name, bytes] of Object.entries(table)) {
    test(name, async () => {
      const { text } = await exchangeRaw(gateway.port, bytes, { until: wholeAnswer })
      assert.equal(parseAnswer(text).status, 200, text)
    })
  }
  test('Content-Length: 00005 is five, or refused', async () => {
    const seen = upstream.requests.length
    const { status } = await exchangeRaw(gateway.port, post('Content-Length: 00005', 'hello'), {
      until: wholeAnswer,
    })
    const received = upstream.requests.slice(seen).map(({ text }) => text)
    assert.deepEqual(
      { status, received },
      status === 200 ? { status, received: ['hello'] } : { status: 400, received: [] },
    )
  })
})

test('the connection opened before all this still works, in the same process', async () => {
  const before = witness.text().length
  witness.write('GET /public/witness HTTP/1.1\r\nHost: a\r\n\r\n')
  const text = await witness.until(all => wholeAnswer(all.slice(before)))
  assert.equal(parseAnswer(text.slice(before)).status, 200)
  assert.equal(gateway.child.exitCode, null)
})
