/** Answers that come before the request is whole: they reach the client, and what is left of the request holds up nobody. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { configDirectory } from './support/config.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'

const directory = configDirectory()
/** Refuses every upload at its first chunk and closes, with the rest unread. */
const refusing = http.createServer((request, response) => {
  request.once('data', () => {
    response.writeHead(413, { connection: 'close', 'content-length': 8 })
    response.end('too much')
  })
})
let gateway: GatewayProcess

function start(): Promise<GatewayProcess> {
  const { port } = refusing.address() as AddressInfo
  const file = directory.write('early.json', {
    server: { bodyTimeout: 2 },
    routes: [{ path: '/up/*', auth: 'none', upstream: `http://127.0.0.1:${port}` }],
  })
  return startGateway({ args: ['--config', file] })
}

before(async () => {
  refusing.listen(0, '127.0.0.1')
  await once(refusing, 'listening')
  gateway = await start()
})

after(async () => {
  await gateway?.stop()
  refusing.close()
  refusing.closeAllConnections()
  directory.remove()
})

/** Uploads as fast as the socket takes it, and gives what the client reads meanwhile. */
function upload(chunks: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(gateway.port, '127.0.0.1')
    let text = ''
    let left = chunks
    const push = (): void => {
      if (left-- === 0 || socket.destroyed) return
      socket.write(Buffer.alloc(65_536))
      setImmediate(push)
    }
    socket.on('data', chunk => {
      text += chunk.toString('latin1')
      if (!text.endsWith('too much')) return
      socket.destroy()
      resolve(text)
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(text)}`)))
    socket.write('POST /up/x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n')
    push()
  })
}

describe('an upstream that refuses an upload and closes', () => {
  // Each is a race between the answer and the failure to write: one run of it proves nothing.
  for (const chunks of [1, 5, 20]) {
    test(`is heard every time, with ${chunks} chunks on the way`, { timeout: 60_000 }, async () => {
      for (let round = 0; round < 40; round++) assert.match(await upload(chunks), /^HTTP\/1\.1 413 /)
    })
  }
})

describe('the rest of a short request behind its answer', () => {
  const head = 'POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n'

  test('that never comes ends the connection soon', async () => {
    const { status, end } = await exchangeRaw(gateway.port, head, { wait: 15_000 })
    assert.equal(status, 404)
    assert.notEqual(end, 'open')
  })

  test('that trickles ends the connection as soon', async () => {
    const socket = net.connect(gateway.port, '127.0.0.1')
    socket.on('error', () => {})
    const closed = once(socket, 'close', { signal: AbortSignal.timeout(15_000) })
    socket.write(head)
    const trickle = setInterval(() => socket.write('x'), 100)
    socket.resume()
    await closed.finally(() => clearInterval(trickle))
  })

  test('that comes lets the connection go on', async () => {
    const next = 'GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const { answers, text } = await exchangeRaw(gateway.port, head + 'x'.repeat(60_000) + next)
    assert.equal(answers, 2)
    assert.match(text, /"healthy"/)
  })

  test('does not hold up the end of the process', { timeout: 30_000 }, async () => {
    const own = await start()
    const socket = net.connect(own.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(head)
    await once(socket, 'data')
    const begun = performance.now()
    assert.equal(await own.stop(), 0)
    assert.ok(performance.now() - begun < 15_000, 'the drain time of 25 s was waited for')
  })
})

test('a body that is too slow is answered and not given another go', async () => {
  const head = 'POST /up/x HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n'
  const { status, text, end } = await exchangeRaw(gateway.port, head, { wait: 20_000 })
  assert.equal(status, 408)
  assert.match(text, /\r\nConnection: close\r\n/)
  assert.notEqual(end, 'open')
})
