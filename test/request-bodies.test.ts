/** Request bodies on the wire: chunks that lie, trailers, bodies nobody asked for, requests in pieces and in rows. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { startConfigured } from './support/configured.ts'
import { type Connection, openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { assertProblem, parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'

let gateway: GatewayProcess
let upstream: HttpUpstream

before(async () => {
  upstream = await httpUpstream()
  gateway = await startConfigured({
    cors: { origins: ['https://app.example.com'] },
    routes: [
      { path: '/public/*', auth: 'none', upstream: upstream.url },
      { path: '/private/*', upstream: upstream.url },
      { path: '/posts/*', auth: 'none', methods: ['POST'], upstream: upstream.url },
      { path: '/limited/*', auth: 'none', bodyLimit: 1_000, upstream: upstream.url },
    ],
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

let marks = 0
const mark = (): string => `mark-${++marks}.`
const seen = (part: string) => upstream.requests.filter(({ target }) => target.includes(part))

async function assertAlive(): Promise<void> {
  const response = await fetch(`${gateway.url}/public/alive`, { method: 'POST', body: 'still here' })
  assert.equal(((await response.json()) as { text: string }).text, 'still here')
}

const chunkedHead = (path: string, fields = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n${fields}\r\n`

describe('a chunk that lies ends the request at both sides', { concurrency: 12 }, () => {
  const table: Record<string, string> = {
    'size with 0x': '0x5\r\nhello\r\n0\r\n\r\n',
    'size with a plus': '+5\r\nhello\r\n0\r\n\r\n',
    'negative size': '-5\r\nhello\r\n0\r\n\r\n',
    'size after a space': ' 5\r\nhello\r\n0\r\n\r\n',
    'size of 17 digits': 'FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n',
    'size past 64 bits': '10000000000000005\r\nhello\r\n0\r\n\r\n',
    'no size': '\r\nhello\r\n0\r\n\r\n',
    'size that is no number': 'five\r\nhello\r\n0\r\n\r\n',
    'size line ended by LF alone': '5\nhello\r\n0\r\n\r\n',
    'size line ended by CR alone': '5\rhello\r\n0\r\n\r\n',
    'data longer than its size': '5\r\nhello!!\r\n0\r\n\r\n',
    'data ended by LF alone': '5\r\nhello\n0\r\n\r\n',
    'LF within an extension': '5;a\nb\r\nhello\r\n0\r\n\r\n',
    'NUL within an extension': '5;a\0b\r\nhello\r\n0\r\n\r\n',
    'extension of 64 KB': `5;${'x'.repeat(65_536)}\r\nhello\r\n0\r\n\r\n`,
    'trailer of 100 KB': `0\r\nX-T: ${'x'.repeat(100_000)}\r\n\r\n`,
    'trailers of 100 KB together': `0\r\n${'X-T: xxxxxxxxxx\r\n'.repeat(6_000)}\r\n`,
    'trailer with a bare CR': '0\r\nX-T: a\rb\r\n\r\n',
    'trailer with a space before its colon': '0\r\nX-T : a\r\n\r\n',
    'folded trailer': '0\r\nX-T: a\r\n b\r\n\r\n',
  }
  for (const [name, chunks] of Object.entries(table)) {
    test(`${name}, with the head`, async () => {
      const path = `/public/${mark()}`
      const { text, end, answers } = await exchangeRaw(gateway.port, chunkedHead(path) + chunks)
      assertProblem(text, [400, 413, 431])
      assert.equal(answers, 1)
      assert.notEqual(end, 'open')
      for (const request of seen(path)) assert.equal(await request.whole, false, 'it arrived as if whole')
      await assertAlive()
    })
    test(`${name}, when the upload is under way`, async () => {
      const path = `/public/${mark()}`
      const connection = await openConnection(gateway.port)
      connection.write(`${chunkedHead(path)}4\r\ngood\r\n`)
      const request = await upstream.request(path)
      connection.write(chunks)
      assert.notEqual(await connection.ended(), 'open')
      assertProblem(connection.text(), [400, 413, 431])
      assert.equal(await request.whole, false, 'it arrived as if whole')
      await assertAlive()
    })
  }
  test('a length that the body does not reach', async () => {
    const path = `/public/${mark()}`
    const connection = await openConnection(gateway.port)
    connection.write(`POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello`)
    const request = await upstream.request(path)
    connection.leave()
    assert.equal(await request.whole, false)
  })
})

describe('chunks as the RFC allows them', () => {
  const table: Record<string, string> = {
    'upper and lower case, leading zeros': '0000A\r\nhellohello\r\n00a\r\nhellohello\r\n000\r\n\r\n',
    'short extensions': '5;a=b\r\nhello\r\n5;c="d e"\r\nhello\r\n0;last\r\n\r\n',
    'chunks of one byte': `${'1\r\nx\r\n'.repeat(500)}0\r\n\r\n`,
  }
  for (const [name, chunks] of Object.entries(table)) {
    test(`${name}: the upstream gets the body`, async () => {
      const path = `/public/${mark()}`
      const { text } = await exchangeRaw(gateway.port, chunkedHead(path) + chunks, { until: wholeAnswer })
      assert.equal(parseAnswer(text).status, 200, text)
      assert.match((await upstream.request(path)).text, /^(hellohello)+$|^x{500}$/)
    })
  }
  const withTrailers = async (lines: string[]) => {
    const path = `/public/${mark()}`
    const head = chunkedHead(path, 'Trailer: X-Checksum\r\nTE: trailers\r\n')
    const bytes = `${head}2\r\nhi\r\n0\r\n${lines.join('\r\n')}\r\n\r\n`
    const { text } = await exchangeRaw(gateway.port, bytes, { until: wholeAnswer })
    return { status: parseAnswer(text).status, request: seen(path)[0]?.message }
  }
  test('a trailer goes on', async () => {
    const { status, request } = await withTrailers(['X-Checksum: abc'])
    assert.deepEqual([status, request?.trailers], [200, { 'x-checksum': 'abc' }])
  })
  const unfit = ['X-Company-ID', 'X_Company_ID', 'X-User-ID', 'Authorization', 'Cookie', 'X-Forwarded-For']
  for (const name of [...unfit, 'Content-Length', 'Transfer-Encoding', 'Host', 'Connection']) {
    test(`a trailer named ${name} does not`, async () => {
      const { status, request } = await withTrailers(['X-Checksum: abc', `${name}: 666`])
      if (status === 400) return
      assert.deepEqual([status, request?.trailers], [200, { 'x-checksum': 'abc' }])
      assert.equal(request?.rawHeaders.includes('666'), false)
    })
  }
  test('split at every byte they read the same', { timeout: 20_000 }, async () => {
    const path = `/public/${mark()}`
    const bytes = `${chunkedHead(path, 'X-A: b\r\n')}5;e=1\r\nhello\r\n6\r\n world\r\n0\r\nX-T: t\r\n\r\n`
    const all = Array.from({ length: bytes.length - 1 }, async (_, index) => {
      const connection = await openConnection(gateway.port)
      connection.write(bytes.slice(0, index + 1))
      await turn()
      await turn()
      connection.write(bytes.slice(index + 1))
      const { status } = parseAnswer(await connection.until(wholeAnswer, 15_000))
      connection.leave()
      return status
    })
    assert.deepEqual(new Set(await Promise.all(all)), new Set([200]))
    const texts = seen(path).map(({ text }) => text)
    assert.deepEqual(texts, Array(bytes.length - 1).fill('hello world'))
  })
  test('sent byte by byte they read the same', async () => {
    const path = `/public/${mark()}`
    const connection = await openConnection(gateway.port)
    for (const byte of `${chunkedHead(path)}5;e=1\r\nhello\r\n0\r\n\r\n`) {
      connection.write(byte)
      await turn()
    }
    await connection.until(wholeAnswer)
    connection.leave()
    assert.deepEqual(
      seen(path).map(({ text }) => text),
      ['hello'],
    )
  })
})

describe('a body that the answer did not wait for is never read as a request', () => {
  const smuggled = 'GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n'
  const inChunks = `${smuggled.length.toString(16)}\r\n${smuggled}\r\n0\r\n\r\n`
  const preflight = 'Origin: https://app.example.com\r\nAccess-Control-Request-Method: POST\r\n'
  const table: Record<string, { line: string; fields?: string; status: number }> = {
    'without a token': { line: 'POST /private/x', status: 401 },
    'with a bad token': { line: 'POST /private/x', fields: 'Authorization: Bearer a.b.c\r\n', status: 401 },
    'of no route': { line: 'POST /nowhere', status: 404 },
    'of a wrong method': { line: 'PUT /posts/x', status: 405 },
    'of a hostile path': { line: 'POST /public/..%2fx', status: 400 },
    'of a preflight': { line: 'OPTIONS /public/x', fields: preflight, status: 204 },
    'of the liveness check': { line: 'POST /health', status: 405 },
    'of a GET without a token': { line: 'GET /private/x', status: 401 },
  }
  for (const [name, { line, fields = '', status }] of Object.entries(table)) {
    for (const [kind, framing, body] of [
      ['with its length', `Content-Length: ${smuggled.length}`, smuggled],
      ['chunked', 'Transfer-Encoding: chunked', inChunks],
    ] as const) {
      const head = `${line} HTTP/1.1\r\nHost: a\r\n${fields}${framing}\r\n\r\n`
      const drainedOrClosed = async (connection: Connection): Promise<void> => {
        const path = `/public/${mark()}`
        connection.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
        await connection.ended()
        await assertAlive()
        const statuses = [...connection.text().matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match =>
          Number(match[1]),
        )
        assert.deepEqual(statuses, seen(path).length === 0 ? [status] : [status, 200])
        assert.deepEqual(seen('smuggled'), [])
      }
      test(`${name}, ${kind}, with the head`, async () => {
        const connection = await openConnection(gateway.port)
        connection.write(head + body)
        await drainedOrClosed(connection)
      })
      test(`${name}, ${kind}, after the answer`, async () => {
        const connection = await openConnection(gateway.port)
        connection.write(head)
        await connection.until(text => text.includes('\r\n\r\n'))
        connection.write(body)
        await drainedOrClosed(connection)
      })
    }
  }
  test('a large body refused for its token: the client still reads the refusal', async () => {
    const connection = await openConnection(gateway.port)
    connection.write('POST /private/x HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n')
    connection.write(Buffer.alloc(20_000_000, 'x'))
    assertProblem(await connection.until(wholeAnswer), [401])
    connection.leave()
    await assertAlive()
  })
})

describe('a body over the limit', { concurrency: 8 }, () => {
  test('announced by its length: 413, and the upstream sees nothing', async () => {
    const path = `/limited/${mark()}`
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n`
    const { text } = await exchangeRaw(gateway.port, head, { until: wholeAnswer })
    assertProblem(text, [413])
    assert.deepEqual(seen(path), [])
  })
  test('announced with Expect: 413 instead of 100', async () => {
    const path = `/limited/${mark()}`
    const head = `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n`
    const { text } = await exchangeRaw(gateway.port, head, { until: wholeAnswer })
    assert.match(text, /^HTTP\/1\.1 413 /)
    assert.deepEqual(seen(path), [])
  })
  for (const expect of ['', 'Expect: 100-continue\r\n']) {
    test(`found while it streams${expect && ', with Expect'}: 413, and the upload stops`, async () => {
      const path = `/limited/${mark()}`
      const connection = await openConnection(gateway.port)
      connection.write(chunkedHead(path, expect))
      if (expect !== '') await connection.until(text => text.startsWith('HTTP/1.1 100'))
      const chunk = `1f4\r\n${'x'.repeat(500)}\r\n`
      connection.write(chunk)
      const request = await upstream.request(path)
      for (let sent = 0; sent < 200; sent++) connection.write(chunk)
      assert.notEqual(await connection.ended(), 'open')
      assertProblem(connection.text(), [413])
      assert.equal(await request.whole, false)
      assert.ok(request.received <= 1_000, `${request.received} bytes went on`)
      await assertAlive()
    })
  }
  test('but just at the limit it passes, with a length and chunked', async () => {
    for (const body of ['x'.repeat(1_000), ReadableStream.from([Buffer.alloc(600), Buffer.alloc(400)])]) {
      const response = await fetch(`${gateway.url}/limited/ok`, { method: 'POST', body, duplex: 'half' })
      assert.equal(((await response.json()) as { received: number }).received, 1_000)
    }
  })
})

describe('requests in a row on one connection', () => {
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
  test('fifty at once are answered in their order', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `/public/row-${index}.`)
    const { text } = await exchangeRaw(gateway.port, names.map(get).join(''), {
      until: text => text.includes('row-49.'),
    })
    assert.deepEqual([...text.matchAll(/\/public\/row-\d+\./g)].map(String), names)
  })
  test('good ones before a bad one are answered before the connection ends', async () => {
    const bad = `${get('/public/c').slice(0, -2)}Content-Length: x\r\n\r\n`
    const bytes = get('/public/a') + get('/public/b') + bad + get('/public/never')
    const { text, end } = await exchangeRaw(gateway.port, bytes)
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]))
    assert.deepEqual(statuses.slice(0, 2), [200, 200])
    assert.ok(statuses.length === 2 || (statuses.length === 3 && statuses[2] === 400), String(statuses))
    assert.notEqual(end, 'open')
    assert.deepEqual(seen('never'), [])
  })
  test('what follows the last request of a connection is not carried out', async () => {
    const last = `${get('/public/last').slice(0, -2)}Connection: close\r\n\r\n`
    const { text, answers } = await exchangeRaw(gateway.port, last + get('/public/too-late'))
    assert.equal(answers, 1, text)
    await assertAlive()
    assert.deepEqual(seen('too-late'), [])
  })
  test('a POST with its body, then a GET: two requests with a border between', async () => {
    const post = 'POST /public/first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello'
    const { text } = await exchangeRaw(gateway.port, post + get('/public/second'), {
      until: text => text.includes('/public/second'),
    })
    assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 2)
    assert.deepEqual(
      seen('/public/first').map(({ text }) => text),
      ['hello'],
    )
  })
})
