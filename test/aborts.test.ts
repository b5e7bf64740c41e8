/** Clients that leave: what they asked for stops at the upstream too, and nothing of them stays behind. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { after, before, describe, test } from 'node:test'
import { startConfigured } from './support/configured.ts'
import { openConnection } from './support/connection.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { until } from './support/until.ts'

/** 100 ms are asked for; the machine may be busy. */
const SOON = 500

let gateway: GatewayProcess
let upstream: HttpUpstream

async function service(request: ReceivedRequest): Promise<void> {
  const { target, response } = request
  if (target.includes('silent')) return
  if (target.includes('stream')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: begun\n\n')
    return
  }
  if (target.includes('flood')) {
    const part = Buffer.alloc(65_536, 'x')
    const more = (): void => {
      while (!response.destroyed && response.write(part));
    }
    response.on('drain', more)
    return more()
  }
  await whenWhole(request)
}

before(async () => {
  upstream = await httpUpstream(service)
  gateway = await startConfigured({ routes: [{ path: '/public/*', auth: 'none', upstream: upstream.url }] })
})

after(async () => {
  gateway?.child.kill('SIGKILL')
  await upstream?.close()
})

/** Milliseconds until the upstream's side of the exchange is closed. */
async function untilClosed({ response }: ReceivedRequest): Promise<number> {
  const started = performance.now()
  await until('the upstream request is closed', () => response.closed || response.destroyed, 5_000)
  return performance.now() - started
}

describe('closes the upstream request when the client leaves', () => {
  const upload = 'Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n'
  const table: Record<string, { request: string; seen?: RegExp }> = {
    'before any answer': { request: 'GET /public/silent-1 HTTP/1.1\r\nHost: a\r\n\r\n' },
    'within a stream of events': {
      request: 'GET /public/stream-2 HTTP/1.1\r\nHost: a\r\n\r\n',
      seen: /begun/,
    },
    'within a large download': { request: 'GET /public/flood-3 HTTP/1.1\r\nHost: a\r\n\r\n', seen: /xxx/ },
    'within an upload': { request: `POST /public/upload-4 HTTP/1.1\r\nHost: a\r\n${upload}` },
    'within an upload that is being answered': {
      request: `POST /public/stream-5 HTTP/1.1\r\nHost: a\r\n${upload}`,
      seen: /begun/,
    },
    'within an upload with a length': {
      request: 'POST /public/upload-6 HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nbegun',
    },
    'while a next request of its own waits behind': {
      request:
        'GET /public/stream-7 HTTP/1.1\r\nHost: a\r\n\r\nGET /public/silent-8 HTTP/1.1\r\nHost: a\r\n\r\n',
      seen: /begun/,
    },
  }
  for (const [name, { request, seen }] of Object.entries(table)) {
    for (const how of ['destroy', 'resetAndDestroy'] as const) {
      test(`${name}, by ${how === 'destroy' ? 'closing' : 'a reset'}`, async () => {
        const connection = await openConnection(gateway.port)
        const known = upstream.requests.length
        connection.write(request)
        await until('the request arrived', () => upstream.requests.length > known)
        const received = upstream.requests[known]
        assert.ok(received !== undefined)
        if (seen !== undefined) await connection.until(text => seen.test(text))
        connection.socket[how]()
        const took = await untilClosed(received)
        assert.ok(took < SOON, `after ${took.toFixed()} ms`)
        const id = received.message.headers['x-request-id']
        const line = await gateway.logged(record => record.request_id === id)
        // A FIN within an upload is also what a client sends that still wants to read why it was refused
        assert.ok(line.outcome !== 'answered' || Number(line.status_code) >= 400, JSON.stringify(line))
      })
    }
  }
})

async function openFiles(): Promise<number> {
  return (await readdir(`/proc/${gateway.child.pid}/fd`)).length
}

test('500 uploads broken off leave no connection and no file open', { timeout: 30_000 }, async () => {
  await (await fetch(`${gateway.url}/public/warm`)).arrayBuffer()
  const filesBefore = await openFiles()
  for (let round = 0; round < 10; round++) {
    const known = upstream.requests.length
    const connections = await Promise.all(Array.from({ length: 50 }, () => openConnection(gateway.port)))
    for (const connection of connections) {
      connection.write('POST /public/cut HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegun')
    }
    await until('all uploads are under way', () => upstream.requests.length - known === 50)
    for (const connection of connections) connection.leave()
  }
  const cut = upstream.requests.filter(({ target }) => target === '/public/cut')
  assert.equal(cut.length, 500)
  assert.deepEqual(new Set(await Promise.all(cut.map(({ whole }) => whole))), new Set([false]))
  const started = performance.now()
  const response = await fetch(`${gateway.url}/public/next`, { method: 'POST', body: 'next' })
  assert.match(await response.text(), /"text":"next"/)
  assert.ok(performance.now() - started < 500)
  await until('connections to the upstream are few again', () => upstream.sockets.size <= 3, 5_000)
  await until('files are few again', async () => (await openFiles()) <= filesBefore + 3, 5_000)
})

test('50 uploads broken off while they are being answered leave no file open', async () => {
  const filesBefore = await openFiles()
  const connections = await Promise.all(Array.from({ length: 50 }, () => openConnection(gateway.port)))
  for (const connection of connections) {
    connection.write(
      'POST /public/stream-cut HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n',
    )
  }
  await Promise.all(connections.map(connection => connection.until(text => text.includes('data: begun'))))
  assert.ok((await openFiles()) >= filesBefore + 50, 'they hold no files to be let go')
  for (const connection of connections) connection.leave()
  await until('files are few again', async () => (await openFiles()) <= filesBefore + 3, 5_000)
})

test('after all these the gateway still ends when told to', async () => {
  const ended = once(gateway.child, 'exit', { signal: AbortSignal.timeout(8_000) })
  gateway.child.kill('SIGTERM')
  assert.deepEqual(await ended, [0, null])
})
