/** Large uploads over HTTP/2, to services of either version: whole, at any pace; and answers that come long before their end. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import type { ClientHttp2Session, ClientHttp2Stream, ServerHttp2Stream } from 'node:http2'
import { Readable } from 'node:stream'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { answerTo, openSession, request } from './support/http2-client.ts'
import { type Http2Upstream, http2Upstream } from './support/http2-upstream.ts'
import { until } from './support/until.ts'

const MB = 1_000_000
const GB = 1_000 * MB
/** What may be on its way when the answer comes: in windows, buffers and three processes. */
const ON_ITS_WAY = 32 * MB
const TOO_MUCH = '{"detail":"too much"}'

/** What a service saw of an upload, by its path. */
interface Seen {
  received: number
  ended: 'whole' | 'broken' | undefined
}
const seen = new Map<string, Seen>()

let older: HttpUpstream
let modern: Http2Upstream
let gateway: GatewayProcess
let session: ClientHttp2Session

/** The digest of a body, or 413 after its first megabyte. */
function serve(path: string, body: Readable, answer: (status: number, text: string) => void): void {
  const upload: Seen = { received: 0, ended: undefined }
  seen.set(path, upload)
  if (path.includes('/deaf')) return void body.pause()
  const hash = createHash('sha256')
  const refuses = path.includes('/refuse')
  let refused = false
  body.on('data', (chunk: Buffer) => {
    upload.received += chunk.length
    hash.update(chunk)
    if (!refuses || refused || upload.received < MB) return
    refused = true
    if (path.includes('/stops')) body.pause()
    answer(413, TOO_MUCH)
  })
  body.on('end', () => {
    // A stream that is reset ends as well
    if ((body as ServerHttp2Stream).closed === true) return
    upload.ended = 'whole'
    if (!refused) answer(200, JSON.stringify({ received: upload.received, sha256: hash.digest('hex') }))
  })
  body.on('error', () => {})
  // node:http does not tell the body of a request that was answered
  ;((body as IncomingMessage).socket ?? body).once('close', () => {
    upload.ended ??= 'broken'
  })
}

before(async () => {
  older = await httpUpstream(({ target, message, response }) =>
    serve(target, message, (status, text) => response.writeHead(status).end(text)),
  )
  modern = await http2Upstream(({ path, stream }) =>
    serve(path, stream, (status, text) => {
      stream.respond({ ':status': status, 'content-length': text.length })
      stream.end(text)
    }),
  )
  const short = '1500ms'
  const patient = { idle: 10, firstByte: 10 }
  gateway = await startConfigured({
    server: { http2: { cleartext: true }, bodyTimeout: short, sendTimeout: short, keepAliveTimeout: 60 },
    client: { timeouts: { connect: 5, firstByte: short, idle: short } },
    upstreams: { older: { url: older.url }, modern: { url: modern.url, protocol: 'h2c' } },
    routes: [
      { path: '/older/*', auth: 'none', upstream: 'older' },
      { path: '/modern/*', auth: 'none', upstream: 'modern' },
      { path: '/older/large', auth: 'none', upstream: 'older', timeouts: patient },
      { path: '/modern/large', auth: 'none', upstream: 'modern', timeouts: patient },
    ],
  })
  session = await openSession(gateway.url)
})
after(async () => {
  session?.destroy()
  await gateway?.stop('SIGKILL')
  await Promise.all([older?.close(), modern?.close()])
})

const post = (path: string, headers: Record<string, string> = {}): ClientHttp2Stream =>
  session.request({ ':method': 'POST', ':path': path, ...headers })

/** Sends zeros as fast as they are taken, until there were enough or the stream is over. Gives what has been sent. */
function pour(stream: ClientHttp2Stream, bytes: number): () => number {
  const chunk = Buffer.alloc(65_536)
  let left = bytes
  const more = (): void => {
    while (left > 0 && !stream.closed && !stream.destroyed) {
      left -= chunk.length
      if (!stream.write(chunk)) return
    }
    if (!stream.closed && !stream.destroyed) stream.end()
  }
  stream.on('drain', more)
  more()
  return () => bytes - left
}

for (const to of ['older', 'modern']) {
  describe(`an upload over HTTP/2 to the ${to} service`, { timeout: 60_000 }, () => {
    for (const [framing, announced] of [
      ['with its length', true],
      ['without', false],
    ] as const) {
      test(`of 50 MB arrives whole, ${framing}`, async () => {
        const content = Buffer.concat(Array.from({ length: 50 }, () => randomBytes(MB)))
        const stream = post(`/${to}/large`, announced ? { 'content-length': String(content.length) } : {})
        const answered = answerTo(stream)
        Readable.from(
          Array.from({ length: 500 }, (_, i) => content.subarray(i * 100_000, (i + 1) * 100_000)),
        ).pipe(stream)
        const { status, text, code } = await answered
        assert.deepEqual([status, code], [200, 0])
        assert.deepEqual(JSON.parse(text), {
          received: content.length,
          sha256: createHash('sha256').update(content).digest('hex'),
        })
      })
    }

    test('may take longer than every timeout, while bytes flow', async () => {
      const stream = post(`/${to}/slow`)
      const answered = answerTo(stream)
      for (let sent = 0; sent < 30; sent++) {
        await delay(100)
        stream.write(Buffer.alloc(100))
      }
      stream.end()
      const { status, text } = await answered
      assert.equal(status, 200)
      assert.equal((JSON.parse(text) as Seen).received, 3_000)
    })

    test('that pauses for too long is told so, and does not look whole', async () => {
      const stream = post(`/${to}/pausing`)
      const answered = answerTo(stream)
      stream.write('begun')
      const { status, text } = await answered
      assert.deepEqual([status, (JSON.parse(text) as { code: string }).code], [408, 'request_timeout'])
      await until('the service knows', () => seen.get(`/${to}/pausing`)?.ended === 'broken')
    })

    test('has to wait where the service takes nothing, and the gateway holds no more than a window of it', async () => {
      await writeFile(`/proc/${gateway.child.pid}/clear_refs`, '5')
      const before = await peak()
      const stream = post(`/${to}/deaf`)
      const answered = answerTo(stream)
      const sent = pour(stream, GB)
      const { status } = await answered
      // For what the service has not taken, or not answered
      assert.equal(status, 504)
      assert.ok(sent() < ON_ITS_WAY, `${sent()} bytes were taken`)
      const grown = (await peak()) - before
      assert.ok(grown < 64 * MB, `${Math.round(grown / MB)} MB more`)
    })

    for (const kind of ['reads-on', 'stops']) {
      test(`of 1 GB is refused after 1 MB by one that ${kind === 'stops' ? 'stops reading' : 'reads on'}`, async () => {
        const path = `/${to}/refuse/${kind}`
        await writeFile(`/proc/${gateway.child.pid}/clear_refs`, '5')
        const before = await peak()
        const stream = post(path, { 'content-length': String(GB) })
        const answered = answerTo(stream)
        pour(stream, GB)
        const { status, text, code } = await answered
        assert.deepEqual([status, text, code], [413, TOO_MUCH, 0])
        const line = await gateway.logged(record => record.path === path)
        assert.deepEqual([line.status_code, line.outcome], [413, 'answered'])
        const upload = seen.get(path)!
        if (kind === 'reads-on') await until('the upload ends there', () => upload.ended)
        assert.notEqual(upload.ended, 'whole')
        assert.ok(upload.received < ON_ITS_WAY, `${upload.received} bytes went on`)
        const grown = (await peak()) - before
        assert.ok(grown < 64 * MB, `${Math.round(grown / MB)} MB more`)
        // Others on the same connection have gone on
        assert.equal(
          (await request(session, { ':method': 'POST', ':path': `/${to}/after` }, 'x')).status,
          200,
        )
      })
    }
  })
}

/** The most memory that the gateway had resident since it was last forgotten, in bytes. */
async function peak(): Promise<number> {
  const status = await readFile(`/proc/${gateway.child.pid}/status`, 'utf8')
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}
