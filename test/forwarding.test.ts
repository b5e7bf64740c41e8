/** Which fields go on to the upstream and back to the client, and what the gateway says in their place. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { parseAnswer } from './support/problem.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

let gateway: GatewayProcess
/** The same routes, behind a proxy on this machine that it trusts. */
let behindProxy: GatewayProcess
let upstream: RecordingUpstream
/** Fields that the next answers carry beside their length. */
let answerFields: readonly string[] = []
let answerLine = 'HTTP/1.1 200 OK'

before(async () => {
  upstream = await recordingUpstream(({ socket }) => {
    socket.write([answerLine, 'Content-Length: 2', ...answerFields, '', 'hi'].join('\r\n'), 'latin1')
  })
  const { url } = upstream
  const routes = [
    { path: '/public/*', auth: 'none' as const, upstream: url },
    { path: '/private/*', upstream: url },
    { path: '/cookies/*', auth: 'none' as const, forwardCookies: true, upstream: url },
    { path: '/host/*', auth: 'none' as const, upstream: { url, preserveHost: true } },
  ]
  gateway = await startConfigured({ routes })
  behindProxy = await startConfigured({ routes, server: { trustedProxies: ['127.0.0.0/8'] } })
})

after(async () => {
  await gateway?.stop()
  await behindProxy?.stop()
  await upstream?.close()
})

/** Sends fields, gives the request that the upstream got and the answer that came back. */
async function forward(path: string, fields: readonly string[], port = gateway.port, rest = '') {
  const seen = upstream.requests.length
  const bytes = [`${rest === '' ? 'GET' : 'POST'} ${path} HTTP/1.1`, 'Host: api.example', ...fields, '', rest]
  const { text } = await exchangeRaw(port, bytes.join('\r\n'), { until: wholeAnswer })
  const answer = parseAnswer(text)
  assert.equal(answer.status, Number(answerLine.split(' ')[1]), text)
  const [request, ...more] = upstream.requests.slice(seen)
  assert.ok(request !== undefined && more.length === 0)
  return { request, answer, text }
}

async function answeredWith(fields: readonly string[], line = 'HTTP/1.1 200 OK') {
  answerFields = fields
  answerLine = line
  try {
    return (await forward('/public/answer', [])).answer
  } finally {
    answerFields = []
    answerLine = 'HTTP/1.1 200 OK'
  }
}

describe('request fields', () => {
  test('of the end-to-end kind go on as they came, repeated ones apart or joined in order', async () => {
    const fields = [
      'Accept-Encoding: br;q=1',
      'Range: bytes=0-1',
      'If-None-Match: "a"',
      'X-Odd:  a\tb  ',
      'X-L: \xe4',
    ]
    const { request } = await forward('/public/x', [...fields, 'X-Two: 1', 'X-Other: o', 'X-Two: 2'])
    for (const [name, value] of [
      ['accept-encoding', 'br;q=1'],
      ['range', 'bytes=0-1'],
      ['if-none-match', '"a"'],
      ['x-odd', 'a\tb'],
      ['x-l', '\xe4'],
      ['x-other', 'o'],
    ] as const) {
      assert.deepEqual(request.values(name), [value])
    }
    assert.equal(request.values('x-two').join(', '), '1, 2')
  })
  const hop = ['Keep-Alive: timeout=9', 'Proxy-Connection: keep-alive', 'Proxy-Authorization: Basic eA==']
  for (const field of [...hop, 'TE: gzip', 'Upgrade: h2c']) {
    test(`${field} stays at the gateway`, async () => {
      const { request } = await forward('/public/x', [field, 'X-Control: c'])
      assert.deepEqual(request.values(field.split(':')[0]!), [])
      assert.deepEqual(request.values('x-control'), ['c'])
    })
  }
  test('that Connection names stay, in any letter case and over several lines', async () => {
    const fields = [
      'Connection: x-FOO ,, X-Bar',
      'X-Foo: a',
      'X-BAR: b',
      'connection: X-Baz',
      'x-baz: c',
      'X-Kept: d',
    ]
    const { request } = await forward('/public/x', fields)
    const [foo, bar, baz, kept] = ['x-foo', 'x-bar', 'x-baz', 'x-kept'].map(request.values)
    assert.deepEqual([foo, bar, baz, kept], [[], [], [], ['d']])
  })
  test('that Connection must not name are set all the same', async () => {
    const names = 'close, Host, Content-Length, Via, X-Forwarded-For, X-Request-ID, X-Company-ID, X-User-ID'
    const fields = [
      `Connection: ${names}, Authorization`,
      `Authorization: Bearer ${token()}`,
      'Content-Length: 9',
    ]
    const { request } = await forward('/private/x', fields, gateway.port, 'hello\r\n\r\n')
    for (const name of ['host', 'content-length', 'via', 'x-forwarded-for', 'x-request-id', 'x-company-id']) {
      assert.equal(request.values(name).length, 1, `${name} in ${request.head}`)
    }
    assert.deepEqual(request.values('x-company-id'), ['acme'])
    assert.match(upstream.bytes(), /\r\n\r\nhello\r\n\r\n$/)
  })
  test("name the upstream as Host, or the client's host where the route says so", async () => {
    const own = await forward('/public/x', [])
    assert.deepEqual(own.request.values('host'), [`127.0.0.1:${upstream.port}`])
    const preserved = await forward('/host/x', [])
    assert.deepEqual(preserved.request.values('host'), ['api.example'])
  })
  test('hold no cookies, unless the route forwards them', async () => {
    const cookies = `Cookie: a=1; b=${'x'.repeat(20_000)}`
    assert.deepEqual((await forward('/public/x', [cookies])).request.values('cookie'), [])
    assert.deepEqual((await forward('/cookies/x', [cookies])).request.values('cookie'), [cookies.slice(8)])
  })
  test('say which gateway passed them on', async () => {
    const { request } = await forward('/public/x', ['Via: 1.0 before'])
    assert.match(request.values('via').join(', '), /^1\.0 before, 1\.1 \S+/)
  })
  test('carry no length for a GET without a body, and 0 for an empty POST', async () => {
    assert.deepEqual((await forward('/public/x', [])).request.values('content-length'), [])
    const seen = upstream.requests.length
    const bytes = 'POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n'
    await exchangeRaw(gateway.port, bytes, { until: wholeAnswer })
    assert.deepEqual(upstream.requests[seen]?.values('content-length'), ['0'])
  })
})

describe('where a request came from', () => {
  const spoofed = ['X-Forwarded-For: 1.2.3.4', 'x-forwarded-for: 5.6.7.8', 'X-Forwarded-Host: evil.test']
  const further = ['X-Forwarded-Proto: gopher', 'X-Forwarded-Prefix: /evil', 'X-Forwarded-Port: 666']
  const others = ['Forwarded: for=1.2.3.4;host=evil.test', 'X-Real-IP: 1.2.3.4', 'X_Forwarded_For: 1.2.3.4']
  test('is said by the socket, whatever an untrusted peer says', async () => {
    const { request } = await forward('/public/x', [...spoofed, ...further, ...others])
    assert.deepEqual(request.values('x-forwarded-for'), ['127.0.0.1'])
    assert.deepEqual(request.values('x-forwarded-proto'), ['http'])
    assert.deepEqual(request.values('x-forwarded-host'), ['api.example'])
    assert.doesNotMatch(request.head, /1\.2\.3\.4|5\.6\.7\.8|evil|gopher|666/)
    for (const value of request.values('forwarded')) assert.match(value, /for="?127\.0\.0\.1/)
  })
  test('is believed of a trusted proxy, which is then named last', async () => {
    const fields = ['X-Forwarded-For: 1.2.3.4', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: app.example']
    const { request } = await forward('/public/x', fields, behindProxy.port)
    assert.match(request.values('x-forwarded-for').join(', '), /^1\.2\.3\.4(, 127\.0\.0\.1)?$/)
    assert.deepEqual(request.values('x-forwarded-proto'), ['https'])
    assert.deepEqual(request.values('x-forwarded-host'), ['app.example'])
  })
  test('a trusted proxy with broken words is not repeated', async () => {
    const fields = [
      'X-Forwarded-Proto: javascript',
      'X-Forwarded-Host: a b/c',
      'X-Forwarded-For: not-an-address',
    ]
    const { request, answer } = await forward('/public/x', fields, behindProxy.port)
    assert.equal(answer.status, 200)
    assert.doesNotMatch(request.head, /javascript|a b\/c/)
  })
})

describe('request ids', () => {
  const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  test('of the client are kept when sane, and said to both sides', async () => {
    const { request, answer } = await forward('/public/x', ['X-Request-ID: abc-123_x.y'])
    assert.deepEqual(request.values('x-request-id'), ['abc-123_x.y'])
    assert.deepEqual(answer.values('x-request-id'), ['abc-123_x.y'])
  })
  for (const id of ['', 'a b', 'a"b', '{"a":1}', 'x'.repeat(500), '\xe4', '../x', '<script>', "a'; drop"]) {
    test(`${JSON.stringify(id.slice(0, 20))} is replaced by a UUIDv7`, async () => {
      const { request, answer } = await forward('/public/x', [`X-Request-ID: ${id}`])
      assert.match(answer.values('x-request-id').join(), UUID7)
      assert.deepEqual(request.values('x-request-id'), answer.values('x-request-id'))
    })
  }
  test('two of them are replaced by one', async () => {
    const { request, answer } = await forward('/public/x', ['X-Request-ID: a', 'X-Request-ID: b'])
    assert.equal(request.values('x-request-id').length, 1)
    assert.equal(answer.values('x-request-id').length, 1)
  })
})

describe('answer fields', () => {
  test('come back as they were, lines of Set-Cookie apart', async () => {
    const cookies = ['a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'b=2; HttpOnly']
    const fields = [
      'ETag: W/"x"',
      'Content-Encoding: gzip',
      'X-L: \xe4',
      'x-supabase-api-version: 2024-01-01',
    ]
    const answer = await answeredWith([...fields, ...cookies.map(cookie => `Set-Cookie: ${cookie}`)])
    assert.deepEqual(answer.values('set-cookie'), cookies)
    for (const field of fields) {
      const [name = '', value] = field.split(': ')
      assert.deepEqual(answer.values(name), [value])
    }
  })
  test('that describe a connection stay, and so do those that Connection names', async () => {
    const fields = [
      'Connection: X-Foo, keep-alive',
      'X-Foo: a',
      'Keep-Alive: timeout=1',
      'Proxy-Connection: x',
      'X-Kept: b',
    ]
    const answer = await answeredWith([...fields, 'Upgrade: h2c'])
    assert.deepEqual(answer.values('x-foo'), [])
    assert.deepEqual(answer.values('proxy-connection'), [])
    assert.deepEqual(answer.values('upgrade'), [])
    assert.doesNotMatch(answer.values('keep-alive').join(), /timeout=1$/)
    assert.deepEqual(answer.values('x-kept'), ['b'])
  })
  test('that Connection must not name come back all the same', async () => {
    const answer = await answeredWith([
      'Connection: Content-Length, Date, X-Request-ID, Set-Cookie',
      'Set-Cookie: a=1',
    ])
    assert.deepEqual(answer.values('content-length'), ['2'])
    assert.equal(answer.values('x-request-id').length, 1)
    assert.equal(answer.values('date').length, 1)
  })
  test('that both sides would set are there once', async () => {
    const fields = [
      'Date: Thu, 01 Jan 1970 00:00:00 GMT',
      'Server: uvicorn',
      'X-Request-ID: theirs',
      'X-Process-Time: 99',
    ]
    const answer = await answeredWith(fields)
    for (const name of ['date', 'x-request-id', 'x-process-time', 'content-length']) {
      assert.equal(answer.values(name).length, 1, `${name}: ${answer.values(name)}`)
    }
    assert.ok(answer.values('server').length <= 1)
    assert.notEqual(answer.values('x-request-id')[0], 'theirs')
    assert.notEqual(answer.values('x-process-time')[0], '99')
  })
  test('200 stacked codings pass untouched', async () => {
    const value = Array(200).fill('gzip').join(', ')
    const answer = await answeredWith([`Content-Encoding: ${value}`])
    assert.deepEqual([answer.values('content-encoding'), answer.body], [[value], 'hi'])
  })
  test('of a redirect come back untouched', async () => {
    const answer = await answeredWith(
      ['Location: http://127.0.0.1:9/elsewhere?a=%0d'],
      'HTTP/1.1 303 See Other',
    )
    assert.equal(answer.status, 303)
    assert.deepEqual(answer.values('location'), ['http://127.0.0.1:9/elsewhere?a=%0d'])
  })
  for (const line of [
    'HTTP/1.1 206 Partial Content',
    'HTTP/1.1 418 Short and stout',
    'HTTP/1.1 599 X',
    'HTTP/1.1 200 ',
  ]) {
    test(`${line} is passed on`, async () => {
      assert.equal((await answeredWith([], line)).status, Number(line.split(' ')[1]))
    })
  }
})

describe('the log', () => {
  test('has one line of JSON for each request, whatever the request holds', async () => {
    const json = '","level":"critical","event":"forged'
    const evil = claims({ email: 'eve@acme.example\n{"level":"critical"}\x1b[31m' })
    const bearer = token(evil, { header: { kid: `\n{"event":"forged"}\x1b[31m` } })
    const fields = [`User-Agent: ${json}\\n\\x1b[31m`, `Authorization: Bearer ${bearer}`]
    const { answer } = await forward(`/private/%22,%22event%22:%22forged[31m?access_token=${bearer}`, fields)
    const id = answer.values('x-request-id')[0]
    await gateway.logged(record => record.request_id === id && 'status_code' in record)
    const lines = gateway.log.filter(record => record.request_id === id)
    assert.equal(lines.length, 1)
    const all = JSON.stringify(gateway.log)
    assert.equal(all.includes(bearer.split('.')[2]!), false, 'the signature of a token in the log')
    assert.equal(all.includes(bearer.split('.')[1]!), false, 'the claims of a token in the log')
    assert.doesNotMatch(all, /eve@acme\.example/)
    assert.deepEqual(
      gateway.log.filter(record => 'raw' in record || record.event === 'forged'),
      [],
    )
    assert.doesNotMatch(String(lines[0]?.path), /[\x00-\x1f]/)
  })
})
