/** The front door as clients meet it on their sockets: where requests and answers end, and what waits for what. */

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type FramedAnswer, framedAnswers } from './support/answers.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { type Connection, connectionsTo } from './support/connection.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { assertProblem } from './support/problem.ts'
import { exchangeRaw } from './support/raw.ts'

const CONFIG = `
import { defineGateway, type Policy } from 'nyro-gateway'

const says = (status: number, body: string): Policy => () => ({ status, headers: [], body, contentLength: body.length })
const upstream = process.env.UPSTREAM_URL!
export default defineGateway({
  routes: [
    { path: '/public/*', auth: 'none', upstream },
    { path: '/private/*', upstream },
    { path: '/says/204', auth: 'none', respond: { status: 204 } },
    { path: '/says/200', auth: 'none', respond: { body: 'said' } },
    { path: '/says/204/with-body', auth: 'none', respond: { status: 204, body: 'smuggled' } },
    { path: '/says/304/with-body', auth: 'none', respond: { status: 304, body: 'smuggled' } },
    { path: '/policy/204/with-body', auth: 'none', upstream, policies: [says(204, 'smuggled')] },
    { path: '/policy/304/with-body', auth: 'none', upstream, policies: [says(304, 'smuggled')] },
  ],
})
`

let gateway: GatewayProcess
let upstream: HttpUpstream
let directory: ConfigDirectory

const LARGE = 8_000_000

/** Behaves as the target says; otherwise it answers with what it got. */
async function service(request: ReceivedRequest): Promise<void> {
  const { target, response } = request
  if (target.includes('silent')) return
  if (target.includes('early')) return void response.end('early')
  if (target.includes('large')) return void response.end(Buffer.alloc(LARGE, 'x'))
  if (target.includes('no-content')) return void response.writeHead(204).end()
  if (target.includes('not-modified')) return void response.writeHead(304, { etag: '"a"' }).end()
  if (target.includes('sized')) return void response.writeHead(200, { 'content-length': 5 }).end('sized')
  if (target.includes('stream')) {
    const trailers = request.method === 'HEAD' ? {} : { 'X-Sum': '1' }
    response.writeHead(200, { 'transfer-encoding': 'chunked' })
    response.write('first,')
    response.addTrailers(trailers)
    await turn()
    return void response.end('second')
  }
  if (target.includes('hints')) response.writeEarlyHints({ link: '</a>; rel=preload' })
  return await whenWhole(request)
}

before(async () => {
  directory = configDirectory()
  upstream = await httpUpstream(service)
  gateway = await startGateway({
    args: ['--config', directory.write('gateway.config.ts', CONFIG)],
    env: {
      UPSTREAM_URL: upstream.url,
      GATEWAY_INGEST_SERVICE_URL: undefined,
      GATEWAY_QUERY_SERVICE_URL: undefined,
    },
  })
})

const { open, leave } = connectionsTo(() => gateway.port)

after(async () => {
  leave()
  await gateway?.stop()
  await upstream?.close()
  directory?.remove()
})

let marks = 0
const mark = (): string => `mark-${++marks}.`
const request = (target: string, fields = '', method = 'GET', version = '1.1'): string =>
  `${method} ${target} HTTP/${version}\r\nHost: a\r\n${fields}\r\n`
const post = (target: string, body: string): string =>
  request(target, `Content-Length: ${body.length}\r\n`, 'POST') + body
const inChunks = (target: string, body: string, trailer = ''): string =>
  `${request(target, 'Transfer-Encoding: chunked\r\n', 'POST')}${body.length.toString(16)}\r\n${body}\r\n0\r\n${trailer}\r\n`

/** Resolves with the first `count` final answers, whole, and nothing behind them. */
async function answersOn(
  connection: Connection,
  count: number,
  methods: string[] = [],
): Promise<FramedAnswer[]> {
  const finals = (text: string): FramedAnswer[] =>
    framedAnswers(text, methods).answers.filter(({ status }) => status >= 200)
  const text = await connection.until(all => finals(all).length >= count)
  assert.equal(framedAnswers(text, methods).rest, '')
  assert.equal(finals(text).length, count)
  return finals(text)
}

/** What the upstream said that it got. */
const got = ({ body }: FramedAnswer): { target: string; text: string } => JSON.parse(body) as never

describe('requests in one packet', () => {
  test('are answered in their order, whatever each is and whoever answers it', async () => {
    const connection = await open()
    const sent: [method: string, bytes: string, status: number, body: RegExp][] = [
      ['POST', post('/public/1', 'hello'), 200, /"text":"hello"/],
      ['GET', request('/private/2'), 401, /Not authenticated/],
      [
        'POST',
        inChunks('/public/3', 'GET / HTTP/1.1\r\n\r\n', 'X-T: a\r\n'),
        200,
        /"text":"GET \/ HTTP\/1.1/,
      ],
      ['GET', request('/nowhere/4'), 404, /Not Found/],
      ['HEAD', request('/public/5', '', 'HEAD'), 200, /^$/],
      ['POST', post('/private/6', request('/public/smuggled')), 401, /Not authenticated/],
      ['GET', request('/health'), 200, /healthy/],
      ['HEAD', request('/private/8', '', 'HEAD'), 401, /^$/],
      ['TRACE', request('/public/9', '', 'TRACE'), 405, /Method Not Allowed/],
      ['GET', request('/public/stream-10'), 200, /^first,second$/],
      ['GET', request('/says/204'), 204, /^$/],
      ['GET', request('/public/12'), 200, /"target":"\/public\/12"/],
    ]
    const methods = sent.map(([method]) => method)
    connection.write(sent.map(([, bytes]) => bytes).join(''))
    const answers = await answersOn(connection, sent.length, methods)
    assert.deepEqual(
      answers.map(({ status }) => status),
      sent.map(([, , status]) => status),
    )
    for (const [index, { body }] of answers.entries()) assert.match(body, sent[index]![3])
    assert.equal(
      upstream.requests.some(({ target }) => target.includes('smuggled')),
      false,
    )
  })

  for (const target of ['/public/', '/nowhere/']) {
    test(`may be very many: two thousand for ${target}`, { timeout: 60_000 }, async () => {
      const connection = await open()
      const name = mark()
      const targets = Array.from({ length: 2_000 }, (_, index) => `${target}${name}${index}`)
      connection.write(targets.map(each => request(each)).join(''))
      const text = await connection.until(all => (all.match(/HTTP\/1\.1 \d/g)?.length ?? 0) === 2_000, 30_000)
      await connection.until(() => framedAnswers(text).answers.length >= 1_999, 5_000)
      const { answers } = framedAnswers(connection.text())
      if (target === '/public/')
        for (const [index, answer] of answers.entries()) assert.equal(got(answer).target, targets[index])
      else assert.ok(answers.every(({ status }) => status === 404))
    })
  }

  test('wait for the one that is being answered, and so does their client', { timeout: 30_000 }, async () => {
    const connection = await open()
    const name = mark()
    connection.write(request(`/public/silent-${name}`))
    const waiting = await upstream.request(name)
    const many = request('/health').repeat(500_000)
    connection.write(many)
    const control = await fetch(`${gateway.url}/public/control`)
    assert.equal(control.status, 200)
    assert.ok(connection.socket.writableLength > 0, 'all of it was taken in')
    waiting.response.end('now')
    const text = await connection.until(all => all.includes('healthy'))
    assert.match(text, /now/)
  })
})

describe('an answer ends where its head says, and the next one begins there', () => {
  const chunkedAnswer = /\r\nTransfer-Encoding: chunked(?:\r\n|$)/
  const table: Record<
    string,
    { method?: string; target: string; status: number; body?: string; head?: RegExp; not?: RegExp }
  > = {
    'to HEAD': {
      method: 'HEAD',
      target: '/public/sized',
      status: 200,
      head: /\r\nContent-Length: 5(?:\r\n|$)/,
    },
    'to GET, of the same': { target: '/public/sized', status: 200, body: 'sized' },
    'to HEAD, of a stream': { method: 'HEAD', target: '/public/stream', status: 200 },
    'to HEAD, refused': {
      method: 'HEAD',
      target: '/private/x',
      status: 401,
      head: /\r\nContent-Length: [1-9]/,
    },
    'to HEAD, for no route': {
      method: 'HEAD',
      target: '/nowhere',
      status: 404,
      head: /\r\nContent-Length: [1-9]/,
    },
    'with 204': {
      target: '/public/no-content',
      status: 204,
      not: /\r\n(?:Content-Length|Transfer-Encoding):/i,
    },
    'with 304': { target: '/public/not-modified', status: 304, not: /\r\nTransfer-Encoding:/i },
    'with 204 of a route': {
      target: '/says/204',
      status: 204,
      not: /\r\n(?:Content-Length|Transfer-Encoding):/i,
    },
    'with 204 of a route that has a body for it': { target: '/says/204/with-body', status: 204 },
    'with 304 of a route that has a body for it': { target: '/says/304/with-body', status: 304 },
    'with 204 of a policy that has a body for it': { target: '/policy/204/with-body', status: 204 },
    'with 304 of a policy that has a body for it': { target: '/policy/304/with-body', status: 304 },
    'that streams': { target: '/public/stream', status: 200, body: 'first,second', head: chunkedAnswer },
    'of a route': { target: '/says/200', status: 200, body: 'said' },
  }
  for (const [name, { method = 'GET', target, status, body = '', head, not }] of Object.entries(table)) {
    test(name, async () => {
      const connection = await open()
      connection.write(request(target, '', method) + request('/says/200'))
      const [answer, next] = await answersOn(connection, 2, [method, 'GET'])
      assert.equal(answer!.status, status)
      assert.ok(method === 'HEAD' || status >= 400 || answer!.body === body, answer!.body)
      if (head !== undefined) assert.match(answer!.head, head)
      if (not !== undefined) assert.doesNotMatch(answer!.head, not)
      assert.deepEqual([next!.status, next!.body], [200, 'said'])
    })
  }

  test('with its trailers', async () => {
    const connection = await open()
    connection.write(request('/public/stream', 'TE: trailers\r\n') + request('/says/200'))
    const [answer] = await answersOn(connection, 2)
    assert.equal(answer!.trailer, 'X-Sum: 1')
  })

  for (const fields of ['', 'Connection: keep-alive\r\n']) {
    test(`with the connection, for a stream to HTTP/1.0 ${JSON.stringify(fields)}`, async () => {
      const connection = await open()
      connection.write(
        request('/public/stream', fields, 'GET', '1.0') + request('/says/200', fields, 'GET', '1.0'),
      )
      assert.equal(await connection.ended(), 'fin')
      const { answers } = framedAnswers(connection.text())
      assert.equal(answers.length, 1)
      assert.deepEqual([answers[0]!.untilClose, answers[0]!.body], [true, 'first,second'])
      assert.deepEqual(answers[0]!.values('connection'), ['close'])
    })
  }

  test('to a client that reads nothing for a while', { timeout: 30_000 }, async () => {
    const connection = await open()
    connection.socket.pause()
    connection.write(request('/public/large') + request('/says/200'))
    await upstream.request('large')
    assert.equal((await fetch(`${gateway.url}/public/control`)).status, 200)
    connection.socket.resume()
    const text = await connection.until(all => all.endsWith('said'), 20_000)
    const { answers, rest } = framedAnswers(text)
    assert.deepEqual([answers.map(({ body }) => body.length), rest], [[LARGE, 4], ''])
    assert.match(answers[0]!.body, /^x+$/)
  })
})

describe('answers before the answer', () => {
  const expecting = (target: string, version = '1.1', length = 5): string =>
    request(target, `Expect: 100-continue\r\nContent-Length: ${length}\r\n`, 'POST', version)

  test('100 asks for the body that is held back, and the next request follows it', async () => {
    const connection = await open()
    connection.write(expecting('/public/x'))
    await connection.until(text => text === 'HTTP/1.1 100 Continue\r\n\r\n')
    connection.write(`hello${request('/says/200')}`)
    const [answer, next] = await answersOn(connection, 2)
    assert.equal(got(answer!).text, 'hello')
    assert.equal(next!.body, 'said')
  })

  test('a refusal comes instead of 100, and the body that comes all the same is no request', async () => {
    const connection = await open()
    const smuggled = request('/public/smuggled-by-expect')
    connection.write(expecting('/private/x', '1.1', smuggled.length))
    await connection.until(text => text.startsWith('HTTP/1.1 401 '))
    connection.write(smuggled)
    await connection.ended()
    assert.doesNotMatch(connection.text(), /HTTP\/1\.1 (?:100|200)/)
    assert.equal(
      upstream.requests.some(({ target }) => target.includes('smuggled-by-expect')),
      false,
    )
  })

  test('103 passes, and is no answer', async () => {
    const connection = await open()
    connection.write(request('/public/hints') + request('/says/200'))
    await answersOn(connection, 2)
    const { answers } = framedAnswers(connection.text())
    assert.deepEqual(
      answers.map(({ status }) => status),
      [103, 200, 200],
    )
    assert.deepEqual(answers[0]!.values('link'), ['</a>; rel=preload'])
  })

  test('HTTP/1.0 gets neither', async () => {
    const connection = await open()
    connection.write(`${expecting('/public/hints', '1.0')}hello`)
    const [answer] = await answersOn(connection, 1)
    assert.equal(framedAnswers(connection.text()).answers.length, 1)
    assert.equal(got(answer!).text, 'hello')
    assert.equal(await connection.ended(), 'fin')
  })
})

describe('a request that is answered before it is whole', () => {
  for (const [what, target, status] of [
    ['by the gateway', '/nowhere', 404],
    ['for its token', '/private/x', 401],
    ['by its upstream', '/public/early', 200],
  ] as const) {
    test(`${what}: once its rest has come, the next one is answered`, async () => {
      const connection = await open()
      const body = request('/public/smuggled-by-rest')
      connection.write(request(target, `Content-Length: ${body.length}\r\n`, 'POST') + body.slice(0, 9))
      await answersOn(connection, 1)
      connection.write(body.slice(9) + request('/says/200'))
      const [first, next] = await answersOn(connection, 2)
      assert.deepEqual([first!.status, next!.body], [status, 'said'])
      assert.equal(
        upstream.requests.some(({ target }) => target.includes('smuggled-by-rest')),
        false,
      )
    })
  }
})

describe('a client that ends its side', () => {
  const cases: Record<string, { bytes: string; statuses: number[] }> = {
    'without a word': { bytes: '', statuses: [] },
    'behind a request that is answered at once': { bytes: request('/says/200'), statuses: [200] },
    'behind three of them': { bytes: request('/says/200').repeat(3), statuses: [200, 200, 200] },
    'behind a hundred of them': { bytes: request('/says/200').repeat(100), statuses: Array(100).fill(200) },
    'behind an empty line after its request': { bytes: `${request('/says/200')}\r\n`, statuses: [200] },
    'within a head': { bytes: 'GET / HTTP/1.1\r\nHost: a\r\n', statuses: [400] },
    'within a second head': { bytes: `${request('/says/200')}GET /`, statuses: [200, 400] },
  }
  for (const [name, { bytes, statuses }] of Object.entries(cases)) {
    test(`${name} gets ${statuses.slice(0, 3).join(', ') || 'nothing'}, and the end of the connection`, async () => {
      const connection = await open()
      connection.socket.end(bytes)
      assert.equal(await connection.ended(), 'fin')
      const { answers, rest } = framedAnswers(connection.text())
      assert.deepEqual([answers.map(({ status }) => status), rest], [statuses, ''])
      const last = answers.at(-1)
      if (last?.status === 400) assertProblem(`${last.head}\r\n\r\n${last.body}`, [400])
    })
  }

  test('while its upstream works: the work stops', async () => {
    const connection = await open()
    const name = mark()
    connection.socket.end(request(`/public/silent-${name}`))
    const { whole, response } = await upstream.request(name)
    assert.equal(await whole, true)
    if (!response.destroyed) await new Promise(resolve => response.on('close', resolve))
    assert.notEqual(await connection.ended(), 'open')
    assert.equal(connection.text(), '')
  })
})

describe('a target that is neither a path nor a web address', () => {
  for (const target of [
    '*',
    'public/x',
    'a:80',
    'ftp://a/b',
    'http:/a',
    'http:///a',
    'http://',
    'http://u@a/',
    'http://a:b/',
    'http://a#b/c',
  ]) {
    test(`is refused: ${target}`, async () => {
      const { text } = await exchangeRaw(gateway.port, request(target))
      assertProblem(text, [400])
    })
  }
})
