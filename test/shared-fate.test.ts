/** What one client does, leaves no trace with another: connections, queues, tables and time are nobody's to keep. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { configDirectory } from './support/config.ts'
import { openConnection } from './support/connection.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
import { until } from './support/until.ts'
import { type RecordedRequest, type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const directory = configDirectory()
const APP = 'https://app.example'
/** Requests that wait for their answer. */
const held: RecordedRequest[] = []
let upstream: RecordingUpstream
let gateway: GatewayProcess

function answer(request: RecordedRequest): void {
  const { method, target, socket } = request
  if (target.includes('held')) held.push(request)
  else if (method === 'HEAD') socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n')
  else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
}

before(async () => {
  upstream = await recordingUpstream(answer)
  const route = { auth: 'none', upstream: upstream.url, timeouts: { firstByte: 10 } }
  const replacing = directory.write(
    'gateway.config.ts',
    `export default {
      cors: { origins: ['${APP}'], originPatterns: ['https://a-*-b-*.team.example.com'] },
      client: { maxConnections: 5 },
      routes: [
        { path: '/public/*', ...${JSON.stringify(route)} },
        { path: '/replaced', ...${JSON.stringify(route)}, policies: [async (exchange, next) => {
          const answer = await next(exchange)
          return { status: 200, headers: [], body: 'mine', contentLength: 4 }
        }] },
        { path: '/s/*', ...${JSON.stringify(route)} },
        { path: '/s/admin/*', upstream: '${upstream.url}' },
      ],
    }`,
  )
  gateway = await startGateway({ args: ['--config', replacing] })
})

after(async () => {
  await gateway?.stop('SIGKILL')
  await upstream?.close()
  directory.remove()
})

const get = (path: string, more = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`

describe('requests of one connection', () => {
  test('are carried out one after the other', async () => {
    const connection = await openConnection(gateway.port)
    const known = upstream.requests.length
    connection.write(get('/public/held-1') + get('/public/after-1'))
    await until('the first is there', () => held.length === 1)
    assert.equal(upstream.requests.length, known + 1)
    held.pop()!.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst')
    const text = await connection.until(all => all.endsWith('ok'))
    assert.ok(text.indexOf('first') < text.lastIndexOf('ok'))
    assert.equal(upstream.requests.length, known + 2)
    connection.leave()
  })

  test('wait outside by the thousand, and are all carried out in the end', async () => {
    const connection = await openConnection(gateway.port)
    const known = upstream.requests.length
    const count = 5_000
    connection.write(get('/public/held-many') + get('/public/after-many').repeat(count))
    await until('the first is there', () => held.length === 1)
    const { status } = await exchangeRaw(gateway.port, get('/public/next'), { until: wholeAnswer })
    assert.equal(status, 200)
    assert.equal(upstream.requests.length, known + 2)
    held.pop()!.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst')
    await until('all have been carried out', () => upstream.requests.length === known + 2 + count)
    connection.leave()
  })
})

test('one connection full of requests that are answered at once does not hold up the others', async () => {
  const busy = await openConnection(gateway.port)
  const other = await openConnection(gateway.port)
  const count = 4_000
  busy.write(get('/nowhere').repeat(count) + get('/health'))
  await busy.until(text => text.includes('404'))
  other.write(get('/health'))
  await other.until(wholeAnswer)
  const answered = busy.text().split('HTTP/1.1 404').length - 1
  assert.ok(answered < count, 'the other one had to wait for all of them')
  await busy.until(text => text.includes('HTTP/1.1 200'))
  assert.equal(busy.text().split('HTTP/1.1 404').length - 1, count)
  for (const connection of [busy, other]) connection.leave()
})

test('an upload whose last bytes fill a read leaves its connection fit for the next request', async () => {
  const connection = await openConnection(gateway.port)
  const size = 65_529
  const head = 'POST /public/held-upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  for (let round = 0; round < 5; round++) {
    const before = connection.text().length
    connection.write(`${head}${size.toString(16)}\r\n`)
    await until('it is at the upstream', () => held.length === 1)
    const taken = upstream.bytes().length
    connection.write(`${'x'.repeat(size)}\r\n0\r\n\r\n`)
    await until('all of it is', () => upstream.bytes().length >= taken + size)
    held.pop()!.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    await connection.until(text => text.slice(before).includes('\r\n\r\nok'))
  }
  connection.leave()
})

test('a client that leaves cannot reach the connection that another one uses', async () => {
  // Answers without a body end before their client has taken them; their connection then serves the next.
  const leaving = net.connect(gateway.port, '127.0.0.1')
  leaving.on('error', () => {})
  await once(leaving, 'connect')
  leaving.write('HEAD /public/x HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(leaving, 'readable')
  const staying = await openConnection(gateway.port)
  staying.write(get('/public/held-stay'))
  await until('it is at the upstream', () => held.length === 1)
  leaving.resetAndDestroy()
  await exchangeRaw(gateway.port, get('/health'), { until: wholeAnswer })
  held.pop()!.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine')
  assert.match(await staying.until(text => text.endsWith('mine')), /^HTTP\/1\.1 200 /)
  staying.leave()
})

test('an answer that a policy replaces keeps no connection', async () => {
  for (let round = 0; round < 12; round++) {
    const { status, text } = await exchangeRaw(gateway.port, get('/replaced'), { until: wholeAnswer })
    assert.equal(status, 200)
    assert.match(text, /mine$/)
  }
  assert.ok(upstream.sockets.size <= 5)
})

describe('an origin made to take long', () => {
  const origin = `https://${'a-a-b-'.repeat(2_000)}!`
  test('does not', async () => {
    const begun = performance.now()
    await exchangeRaw(gateway.port, get('/health', `Origin: ${origin}\r\n`), { until: wholeAnswer })
    assert.ok(performance.now() - begun < 1_000)
  })
  test('while one that fits the pattern is allowed', async () => {
    const fitting = 'https://a-1-b-2.team.example.com'
    const { text } = await exchangeRaw(gateway.port, get('/health', `Origin: ${fitting}\r\n`), {
      until: wholeAnswer,
    })
    assert.match(text, new RegExp(`Access-Control-Allow-Origin: ${fitting}\\r\\n`))
  })
})

describe('a refusal before any route is found', () => {
  const faults: [string, number, string][] = [
    ['a target that is too long', 414, `GET /${'a'.repeat(9_000)} HTTP/1.1\r\nHost: a\r\n`],
    ['too many fields', 431, `GET / HTTP/1.1\r\nHost: a\r\n${'a: b\r\n'.repeat(300)}`],
    ['a doubled Host', 400, 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n'],
    ['a method of nobody', 501, 'PROPFIND / HTTP/1.1\r\nHost: a\r\n'],
  ]
  for (const [what, expected, head] of faults) {
    test(`can be read by the page that asked: ${what}`, async () => {
      const { status, text } = await exchangeRaw(gateway.port, `${head}Origin: ${APP}\r\n\r\n`)
      assert.equal(status, expected)
      assert.match(text, new RegExp(`Access-Control-Allow-Origin: ${APP}\\r\\n`))
    })
  }
  test('is no preflight, however it looks', async () => {
    const preflight = `OPTIONS / HTTP/1.1\r\nHost: a\r\nHost: b\r\nOrigin: ${APP}\r\nAccess-Control-Request-Method: GET\r\n\r\n`
    assert.equal((await exchangeRaw(gateway.port, preflight)).status, 400)
  })
})

describe('path parameters', () => {
  for (const path of ['/s/;/admin/x', '/s/;x/admin', '/s/admin;/x', '/s/admin%253bx', '/s/.;/admin/x']) {
    test(`do not lead around a guard: ${path}`, async () => {
      const known = upstream.requests.length
      const { status } = await exchangeRaw(gateway.port, get(path), { until: wholeAnswer })
      assert.ok([400, 401].includes(status), `${status}`)
      assert.equal(upstream.requests.length, known)
    })
  }
  test('pass where they change nothing', async () => {
    const { status } = await exchangeRaw(gateway.port, get('/public/a;v=1/b;c'), { until: wholeAnswer })
    assert.equal(status, 200)
    assert.equal(upstream.requests.at(-1)?.target, '/public/a;v=1/b;c')
  })
})

test('a stream begun before SIGTERM does not hold its connection open behind its end', {
  timeout: 30_000,
}, async () => {
  const own = await startGateway({
    args: [
      '--config',
      directory.write('drain.json', { routes: [{ path: '/*', auth: 'none', upstream: upstream.url }] }),
    ],
  })
  const connection = await openConnection(own.port)
  connection.write(get('/held-stream'))
  await until('it is at the upstream', () => held.length === 1)
  const { socket } = held.pop()!
  socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n')
  await connection.until(text => text.includes('a\r\n'))
  const exited = once(own.child, 'exit')
  own.child.kill('SIGTERM')
  await own.logged(record => record.event === 'Gateway draining')
  // Past the moment at which idle connections are swept
  await new Promise(resolve => setTimeout(resolve, 1_500))
  const begun = performance.now()
  socket.write('0\r\n\r\n')
  assert.deepEqual(await exited, [0, null])
  assert.ok(performance.now() - begun < 10_000, 'the drain time of 25 s was waited for')
})
