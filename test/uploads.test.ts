/** Large uploads: whole, at any pace, in any framing; and answers that come long before their end. */

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { openAsBlob } from 'node:fs'
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { bearer, open } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream, type ReceivedRequest, whenWhole } from './support/http-upstream.ts'
import { needs } from './support/system.ts'
import { claims, expiringSoon, token } from './support/token.ts'

const run = promisify(execFile)
const MB = 1_000_000
const GB = 1_000 * MB
/** What may be on its way when the answer comes: in the buffers of two connections and of three processes. */
const ON_ITS_WAY = 32 * MB

const noCurl = await needs('curl', { command: '/usr/bin/curl', packages: ['curl'] })

let directory: string
let gateway: GatewayProcess
let upstream: HttpUpstream
/** A sparse file of 1 GB. */
let large: string

before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'nyro-gateway-uploads-'))
  large = path.join(directory, 'large')
  await writeFile(large, '')
  await truncate(large, GB)
  upstream = await httpUpstream(serve)
  const short = '1500ms'
  gateway = await startConfigured({
    server: { bodyTimeout: short, sendTimeout: short, headerTimeout: short, keepAliveTimeout: short },
    identity: { leeway: 0 },
    client: { timeouts: { connect: short, firstByte: short, idle: short } },
    routes: [
      { path: '/private/*', upstream: upstream.url },
      { path: '/*', auth: 'none', upstream: upstream.url },
      // An upload of 50 MB may wait for the disk or the other tests
      {
        path: '/patient/*',
        auth: 'none',
        upstream: { url: upstream.url, timeouts: { idle: 10, firstByte: 10 } },
      },
    ],
  })
})

after(async () => {
  await gateway?.stop()
  await upstream?.close()
  await rm(directory, { recursive: true, force: true })
})

function serve(request: ReceivedRequest): void | Promise<void> {
  if (request.target.startsWith('/patient/digest')) return digestOf(request)
  if (request.target.startsWith('/refuse/')) return refuseAfter(request, MB)
  if (request.target.startsWith('/unread/')) return refuseAfter(request, 0)
  return whenWhole(request)
}

async function digestOf(request: ReceivedRequest): Promise<void> {
  const hash = createHash('sha256')
  request.message.on('data', chunk => hash.update(chunk))
  if (!(await request.whole)) return
  const { response, received, message } = request
  response.end(JSON.stringify({ received, sha256: hash.digest('hex'), headers: message.headers }))
}

/** 413 as soon as so much has come. What it does then is in the target: end the connection, leave the rest unread, or read on. */
function refuseAfter(request: ReceivedRequest, bytes: number): void {
  const { message, response, target } = request
  const refuse = (): void => {
    if (!target.includes('/reads-on')) message.pause()
    const connection = target.includes('/closes') ? { connection: 'close' } : {}
    response
      .writeHead(413, { 'content-type': 'application/json', ...connection })
      .end('{"detail":"too much"}')
  }
  if (bytes === 0) return refuse()
  if (message.headers.expect !== undefined) response.writeContinue()
  message.on('data', () => request.received >= bytes && !response.headersSent && refuse())
}

function zeros(bytes: number): Readable {
  const chunk = Buffer.alloc(65_536)
  return Readable.from(
    (function* () {
      for (let left = bytes; left > 0; left -= chunk.length)
        yield chunk.subarray(0, Math.min(left, chunk.length))
    })(),
    { highWaterMark: 2 },
  )
}

/** The most memory that the gateway had resident since `forgetPeak`, in bytes. */
async function peak(): Promise<number> {
  const status = await readFile(`/proc/${gateway.child.pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}

async function forgetPeak(): Promise<void> {
  await writeFile(`/proc/${gateway.child.pid}/clear_refs`, '5')
}

describe('50 MB arrive whole', () => {
  const size = 50 * MB
  const content = Buffer.alloc(size, 'The quick brown fox jumps over the lazy dog. ')
  const sha256 = createHash('sha256').update(content).digest('hex')
  const post = async (name: string, body: NonNullable<RequestInit['body']>) => {
    const response = await fetch(`${gateway.url}/patient/digest-${name}`, {
      method: 'POST',
      body,
      duplex: 'half',
    })
    assert.equal(response.status, 200)
    return (await response.json()) as {
      received: number
      sha256: string
      headers: Record<string, string | undefined>
    }
  }

  test('with their length', async () => {
    const answer = await post('length', content)
    assert.deepEqual([answer.received, answer.sha256], [size, sha256])
    assert.equal(answer.headers['content-length'], String(size))
  })

  test('chunked', async () => {
    const pieces = Array.from({ length: 50 }, (_, index) => content.subarray(index * MB, (index + 1) * MB))
    const answer = await post('chunked', ReadableStream.from(pieces))
    assert.deepEqual([answer.received, answer.sha256], [size, sha256])
    assert.equal(answer.headers['transfer-encoding'], 'chunked')
  })

  test('as a file in a form', async () => {
    const form = new FormData()
    form.set('title', 'A report')
    form.set('file', new File([content], 'report.bin'))
    const answer = await post('form', form)
    assert.match(answer.headers['content-type'] ?? '', /^multipart\/form-data; boundary=/)
    assert.equal(answer.headers['content-length'], String(answer.received))
    assert.ok(answer.received > size && answer.received < size + 1_000)
  })
})

describe('an upload that takes longer than every timeout', { concurrency: 4 }, () => {
  const pieces = 30
  /** A piece every 0.1 s: 3 s, where nothing is waited for longer than 1.5 s. */
  const slowly = async function* () {
    for (let sent = 0; sent < pieces; sent++) {
      await delay(100)
      yield Buffer.alloc(100)
    }
  }
  for (const [framing, headers] of [
    ['with its length', { 'content-length': String(pieces * 100) }],
    ['chunked', { 'transfer-encoding': 'chunked' }],
    ['after 100 Continue', { 'content-length': String(pieces * 100), expect: '100-continue' }],
  ] as const) {
    test(`arrives whole, ${framing}`, async () => {
      const { request, answered } = open(`${gateway.url}/slow/${framing.length}`, { method: 'POST', headers })
      if ('expect' in headers) await once(request, 'continue')
      Readable.from(slowly()).pipe(request)
      const response = await answered
      assert.equal(response.statusCode, 200)
      const { received } = JSON.parse(Buffer.concat(await response.toArray()).toString())
      assert.equal(received, pieces * 100)
    })
  }

  test('arrives whole after its token has expired', async () => {
    const expires = expiringSoon()
    const { request, answered } = open(`${gateway.url}/private/slow`, {
      method: 'POST',
      headers: { ...bearer(token(claims({ exp: expires }))), 'content-length': String(pieces * 100) },
    })
    request.flushHeaders()
    Readable.from(slowly()).pipe(request)
    const response = await answered
    assert.ok(Date.now() / 1000 > expires)
    assert.equal(response.statusCode, 200)
    response.resume()
  })
})

describe('413 after 1 MB of 1 GB reaches the client', () => {
  let marks = 0
  const targetOf = (kind: string, client: string): string => `/refuse/${kind}/${client}-${++marks}`

  /** The service saw the beginning of it, and no more than what was on its way. */
  const assertStopped = async (target: string): Promise<void> => {
    const line = await gateway.logged(({ path }) => path === target)
    assert.deepEqual([line.status_code, line.outcome], [413, 'answered'])
    const request = await upstream.request(target)
    const { socket, complete } = request.message
    // One that does not read does not hear of the end
    if (target.includes('/reads-on') && !socket.destroyed)
      await once(socket, 'close', { signal: AbortSignal.timeout(5_000) })
    assert.equal(complete, false)
    assert.ok(request.received < ON_ITS_WAY, `${request.received} bytes went on`)
  }

  for (const [kind, name] of [
    ['closes', 'that ends the connection'],
    ['stops', 'that stops reading'],
    ['reads-on', 'that reads on'],
  ] as const) {
    for (const [framing, headers] of [
      ['with its length', { 'content-length': String(GB) }],
      ['chunked', { 'transfer-encoding': 'chunked' }],
      ['after 100 Continue', { 'content-length': String(GB), expect: '100-continue' }],
    ] as const) {
      test(`from a service ${name} to node:http, ${framing}`, async () => {
        const path = targetOf(kind, 'node')
        const { request, answered } = open(gateway.url + path, { method: 'POST', headers })
        if ('expect' in headers) await once(request, 'continue')
        const body = zeros(GB)
        body.pipe(request)
        const response = await answered
        assert.equal(response.statusCode, 413)
        assert.equal(Buffer.concat(await response.toArray()).toString(), '{"detail":"too much"}')
        assert.ok(response.headers['x-request-id'])
        body.destroy()
        request.destroy()
        await assertStopped(path)
      })
    }

    for (const framing of ['with its length', 'chunked']) {
      test(`from a service ${name} to fetch, ${framing}`, async () => {
        const path = targetOf(kind, 'fetch')
        const body =
          framing === 'chunked' ? (Readable.toWeb(zeros(GB)) as ReadableStream) : await openAsBlob(large)
        const response = await fetch(gateway.url + path, { method: 'PUT', body, duplex: 'half' })
        assert.equal(response.status, 413)
        assert.deepEqual(await response.json(), { detail: 'too much' })
        await assertStopped(path)
      })
    }

    for (const [framing, ...options] of [
      ['with its length', '-H', 'Expect:'],
      ['chunked', '-H', 'Expect:'],
      ['after 100 Continue', '-H', 'Expect: 100-continue'],
    ] as const) {
      test(`from a service ${name} to curl, ${framing}`, { skip: noCurl }, async () => {
        const path = targetOf(kind, 'curl')
        const { stdout } = await curl(gateway.url + path, framing === 'chunked', options)
        assert.match(stdout, /^\{"detail":"too much"\} 413 \d+$/)
        assert.ok(Number(stdout.split(' ').at(-1)) < GB / 2, `curl sent on: ${stdout}`)
        await assertStopped(path)
      })
    }

    test(`from a service ${name} to a client that sends on all the same`, async () => {
      const path = targetOf(kind, 'raw')
      const { text, sent } = await sendOn(path)
      assert.match(text, /^HTTP\/1\.1 413 .*\r\n\r\n\{"detail":"too much"\}$/s)
      assert.ok(sent >= MB)
      await assertStopped(path)
    })
  }

  test('and a refusal of the head alone keeps the body from being sent', { skip: noCurl }, async () => {
    const { stdout } = await curl(`${gateway.url}/unread/curl`, false, ['-H', 'Expect: 100-continue'])
    assert.match(stdout, /^\{"detail":"too much"\} 413 0$/)
  })

  test('and the gateway holds none of it', async () => {
    await forgetPeak()
    const before = await peak()
    await Promise.all(['closes', 'stops', 'reads-on'].map(kind => sendOn(targetOf(kind, 'memory'))))
    const grown = (await peak()) - before
    assert.ok(grown < 64 * MB, `${Math.round(grown / MB)} MB more`)
    assert.equal((await fetch(`${gateway.url}/alive`)).status, 200)
  })
})

/** curl's own upload: what it printed of the answer, its status, and the bytes that it sent. */
function curl(url: string, chunked: boolean, options: readonly string[]): Promise<{ stdout: string }> {
  const args = ['-sS', '-T', chunked ? '-' : large, '-w', ' %{http_code} %{size_upload}', ...options, url]
  const running = run('/usr/bin/curl', args, { timeout: 20_000 })
  if (chunked)
    zeros(GB)
      .pipe(running.child.stdin!)
      .on('error', () => {})
  return running
}

/** Sends 1 GB as fast as it is taken, whatever comes back, until the gateway ends the connection. */
async function sendOn(target: string): Promise<{ text: string; sent: number }> {
  const socket = net.connect({ port: gateway.port, host: '127.0.0.1', allowHalfOpen: true })
  // Writing may fail before the answer has been read: that is no failure of the test
  const closed = new Promise<void>((resolve, reject) => {
    socket.once('close', () => resolve())
    AbortSignal.timeout(20_000).addEventListener('abort', () => reject(new Error('not within 20 s')))
  })
  let text = ''
  socket.on('error', () => {})
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
  })
  socket.write(`POST ${target} HTTP/1.1\r\nHost: a\r\nContent-Length: ${GB}\r\n\r\n`)
  const body = zeros(GB)
  body.pipe(socket)
  await closed
  body.destroy()
  return { text, sent: socket.bytesWritten }
}
