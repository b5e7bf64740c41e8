/** Clients that send or read as slowly as they can: ended in time, while others are served as ever. */

import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { type Connection, openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { assertProblem } from './support/problem.ts'
import { wholeAnswer } from './support/raw.ts'
import { until } from './support/until.ts'

const CROWD = 50
/** Far from the 1 s of the timeouts, as the machine may be busy. */
const IN_TIME = 6_000

let gateway: GatewayProcess
let upstream: HttpUpstream

/** Answers `/endless` with more than any buffer between here and the client holds. */
async function service(request: ReceivedRequest): Promise<void> {
  if (!request.target.includes('endless')) return await whenWhole(request)
  const { response } = request
  const part = Buffer.alloc(65_536, 'x')
  response.setHeader('content-length', 500_000_000)
  const more = (): void => {
    while (!response.destroyed && response.write(part));
  }
  response.on('drain', more)
  more()
}

before(async () => {
  upstream = await httpUpstream(service)
  gateway = await startConfigured({
    server: { headerTimeout: 1, bodyTimeout: 1, keepAliveTimeout: 1, sendTimeout: 2 },
    routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }],
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
})

/** Opens a crowd that begins with `start` and adds `more` every 100 ms; gives the connections. */
async function crowd(start: string, more = '', size = CROWD): Promise<Connection[]> {
  const connections = await Promise.all(Array.from({ length: size }, () => openConnection(gateway.port)))
  for (const connection of connections) {
    connection.write(start)
    if (more !== '') trickle(connection.socket, more)
  }
  return connections
}

function trickle(socket: Socket, more: string): void {
  const timer = setInterval(() => {
    if (socket.writable) socket.write(more)
    else clearInterval(timer)
  }, 100)
  socket.on('close', () => clearInterval(timer))
}

/** Asks again and again while the crowd is there; most answers must come as if it were not. */
async function assertServedMeanwhile(): Promise<void> {
  const times: number[] = []
  for (let count = 0; count < 50; count++) {
    const started = performance.now()
    assert.equal((await send(`${gateway.url}/public/normal`)).status, 200)
    times.push(performance.now() - started)
  }
  const slow = times.sort((a, b) => b - a)[5]!
  assert.ok(slow < 1_000, `a tenth of the answers took ${slow.toFixed()} ms and more`)
}

const head = (fields: string): string => `POST /public/slow HTTP/1.1\r\nHost: a\r\n${fields}\r\n`

describe(`${CROWD} connections each`, { concurrency: true }, () => {
  const table: Record<string, { start: string; more?: string }> = {
    'whose head stops': { start: 'GET /public/x HTTP/1.1\r\nHost: a\r\nX-A: ' },
    'whose head never ends': { start: 'GET /public/x HTTP/1.1\r\nHost: a\r\n', more: 'X-A: b\r\n' },
    'whose head comes byte by byte': { start: 'GET /public/x HTTP/1.1\r\nHost: a\r\nX-A: ', more: 'x' },
    'whose request line comes byte by byte': { start: 'GET /', more: 'x' },
    'whose body stops, with a length': { start: `${head('Content-Length: 1000\r\n')}begun` },
    'whose body stops, chunked': { start: `${head('Transfer-Encoding: chunked\r\n')}5\r\nbegun\r\n` },
    'whose body never begins': { start: head('Content-Length: 1000\r\n') },
  }
  for (const [name, { start, more }] of Object.entries(table)) {
    test(`${name}: 408, and closed in time`, async () => {
      const started = performance.now()
      const connections = await crowd(start, more)
      const ends = await Promise.all(connections.map(connection => connection.ended(IN_TIME)))
      assert.ok(!ends.includes('open'), 'some were left open')
      assert.ok(performance.now() - started > 800, 'closed before its time')
      // A byte under way when the gateway closes may cost the client the answer, but not every client
      const answered = connections.filter(connection => connection.text() !== '')
      assert.ok(answered.length > 0, 'nobody was told why')
      for (const connection of answered) assertProblem(connection.text(), [408])
    })
  }
  test('that send nothing at all: closed in time', async () => {
    const connections = await crowd('')
    const ends = await Promise.all(connections.map(connection => connection.ended(IN_TIME)))
    assert.ok(!ends.includes('open'))
  })
  test('that stay idle after an answer: closed in time, without another', async () => {
    const connections = await crowd('GET /public/x HTTP/1.1\r\nHost: a\r\n\r\n')
    await Promise.all(connections.map(connection => connection.until(wholeAnswer)))
    const ends = await Promise.all(connections.map(connection => connection.ended(IN_TIME)))
    assert.deepEqual(new Set(ends), new Set(['fin']))
    for (const connection of connections) assert.equal(connection.text().match(/HTTP\/1\.1 /g)?.length, 1)
  })
  test('whose body drips on and on: closed once it was too slow for too long', async () => {
    const connections = await crowd(head('Content-Length: 100000\r\n'), 'x')
    const ends = await Promise.all(connections.map(connection => connection.ended(16_000)))
    assert.ok(!ends.includes('open'), 'a client may hold a connection with 10 bytes a second')
    assertProblem(connections.find(connection => connection.text() !== '')?.text() ?? '', [408])
  })
  test('and all of them together do not keep a client waiting that is quick', assertServedMeanwhile)
})

test('connections that do not read a large answer: closed in time, at the upstream as well', async () => {
  const connections = await crowd('', '', 10)
  for (const { socket, write } of connections) {
    socket.pause()
    write('GET /public/endless HTTP/1.1\r\nHost: a\r\n\r\n')
  }
  const arrived = () => upstream.requests.filter(request => request.target.includes('endless'))
  await until('all have asked', () => arrived().length === connections.length)
  await assertServedMeanwhile()
  const stuck = arrived()
  await Promise.all(
    stuck.map(
      ({ response }) =>
        new Promise<void>((resolve, reject) => {
          if (response.destroyed) return resolve()
          const timer = setTimeout(() => reject(new Error('the upstream still waits')), 15_000)
          response.on('close', () => {
            clearTimeout(timer)
            resolve()
          })
        }),
    ),
  )
  for (const connection of connections) connection.leave()
})

test('an upload that pauses for less than the timeout arrives', async () => {
  const [connection] = await crowd(`${head('Content-Length: 8\r\n')}x`, 'x', 1)
  assert.ok(connection !== undefined)
  const text = await connection.until(wholeAnswer)
  assert.match(text, /"text":"x{8}"/)
  connection.leave()
})
