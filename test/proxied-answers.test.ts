/** What the service answers is what the client gets: status, header lines, framing, and bytes in their time. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { bearer, open, send, valuesOf } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'
import { type Service, service } from './support/service.ts'
import { token } from './support/token.ts'

const signedIn = bearer(token())

/** What the next request does; the last one seen. */
let listener: http.RequestListener = (_, response) => void response.end('ok')
let backend: Service
let gateway: GatewayProcess
let url: string

before(async () => {
  backend = await service((request, response) => listener(request, response))
  gateway = await startGateway({
    env: { GATEWAY_INGEST_SERVICE_URL: backend.url, GATEWAY_AUTH_SERVICE_URL: `${backend.url}/base/` },
  })
  url = `${gateway.url}/api/v1/ingest`
})

after(async () => {
  await gateway?.stop()
  await backend?.close()
})

async function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function answerNext(status: number, headers: http.OutgoingHttpHeaders, body?: string | Buffer): void {
  listener = (_, response) => void response.writeHead(status, headers).end(body)
}

describe('answers', () => {
  for (const status of [201, 202, 400, 401, 403, 404, 409, 418, 422, 429, 500, 503, 599]) {
    test(`${status} is the service's own word`, async () => {
      answerNext(
        status,
        { 'content-type': 'application/json', 'www-authenticate': 'Own realm="x"' },
        '{"own":1}',
      )
      const answer = await send(`${url}/x`, { headers: signedIn })
      assert.equal(answer.status, status)
      assert.equal(answer.text, '{"own":1}')
      assert.deepEqual(answer.values('content-type'), ['application/json'])
      assert.deepEqual(answer.values('www-authenticate'), ['Own realm="x"'])
    })
  }

  for (const status of [301, 302, 303, 307, 308]) {
    test(`${status} is passed on, not followed`, async () => {
      answerNext(status, { location: 'https://elsewhere.example/a%20b?c=d#e' })
      const answer = await send(`${url}/x`, { headers: signedIn })
      assert.equal(answer.status, status)
      assert.deepEqual(answer.values('location'), ['https://elsewhere.example/a%20b?c=d#e'])
    })
  }

  test('keep their Set-Cookie lines apart and in order', async () => {
    const cookies = ['a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'b=2; HttpOnly', 'a=3']
    answerNext(200, { 'set-cookie': cookies }, 'x')
    assert.deepEqual((await send(`${url}/x`, { headers: signedIn })).values('set-cookie'), cookies)
  })

  test('keep repeated fields, odd values and letter case', async () => {
    listener = (_, response) => {
      response.setHeader('X-Many', ['one', 'two, three'])
      response.setHeader('X-File', 'caf\xe9.pdf')
      response.setHeader('X-Empty', '')
      response.end(Buffer.from('x'))
    }
    const answer = await send(`${url}/x`, { headers: signedIn })
    assert.deepEqual(answer.values('x-many'), ['one', 'two, three'])
    assert.deepEqual(answer.values('x-file'), ['caf\xe9.pdf'])
    assert.deepEqual(answer.values('x-empty'), [''])
  })

  test('HEAD has the length and no body, and leaves the connection usable', async () => {
    answerNext(200, { 'content-length': '1234', etag: '"v1"' })
    const raw = await exchangeRaw(
      gateway.port,
      `HEAD /api/v1/ingest/x HTTP/1.1\r\nHost: h\r\nAuthorization: ${signedIn.authorization}\r\n\r\n` +
        'GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
    )
    assert.equal(raw.answers, 2)
    assert.match(raw.text, /^HTTP\/1\.1 200 [\s\S]*content-length: 1234\r\n[\s\S]*\r\n\r\nHTTP\/1\.1 200 /i)
  })

  for (const status of [204, 304]) {
    test(`${status} has no body and leaves the connection usable`, async () => {
      answerNext(status, { etag: '"v1"' })
      const raw = await exchangeRaw(
        gateway.port,
        `GET /api/v1/ingest/x HTTP/1.1\r\nHost: h\r\nIf-None-Match: "v1"\r\nAuthorization: ${signedIn.authorization}\r\n\r\n` +
          'GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
      )
      assert.equal(raw.status, status)
      assert.equal(raw.answers, 2)
      const head = raw.text.slice(0, raw.text.indexOf('\r\n\r\n'))
      assert.match(head, /\r\netag: "v1"/i)
      assert.doesNotMatch(head, /transfer-encoding/i)
      if (status === 204) assert.doesNotMatch(head, /content-length/i)
    })
  }

  test('206 keeps its range', async () => {
    listener = (request, response) => {
      assert.equal(request.headers.range, 'bytes=2-4')
      response.writeHead(206, { 'content-range': 'bytes 2-4/10', 'content-length': '3' }).end('cde')
    }
    const answer = await send(`${url}/x`, { headers: { ...signedIn, range: 'bytes=2-4' } })
    assert.equal(answer.status, 206)
    assert.equal(answer.text, 'cde')
    assert.deepEqual(answer.values('content-range'), ['bytes 2-4/10'])
  })

  test('compressed bodies pass as they are', async () => {
    const zipped = gzipSync('x'.repeat(100_000))
    listener = (request, response) => {
      assert.equal(request.headers['accept-encoding'], 'gzip, br;q=0.5')
      response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': zipped.length }).end(zipped)
    }
    const answer = await send(`${url}/x`, { headers: { ...signedIn, 'accept-encoding': 'gzip, br;q=0.5' } })
    assert.ok(answer.body.equals(zipped))
    assert.deepEqual(answer.values('content-encoding'), ['gzip'])
    assert.deepEqual(answer.values('content-length'), [String(zipped.length)])
  })

  test('a body that ends with its connection arrives whole', async () => {
    listener = (_, response) => {
      response.socket!.end('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil close')
    }
    const { request, answered } = open(`${url}/x`, { headers: signedIn })
    request.end()
    const response = await answered
    assert.equal((await read(response)).toString(), 'until close')
    assert.deepEqual(valuesOf(response.rawHeaders, 'transfer-encoding'), ['chunked'])
  })

  test('an HTTP/1.0 client gets no chunks', async () => {
    listener = (_, response) => {
      response.write('first ')
      response.end('second')
    }
    const raw = await exchangeRaw(
      gateway.port,
      `GET /api/v1/ingest/x HTTP/1.0\r\nHost: h\r\nAuthorization: ${signedIn.authorization}\r\n\r\n`,
    )
    assert.equal(raw.status, 200)
    assert.equal(raw.end, 'fin')
    assert.doesNotMatch(raw.text, /transfer-encoding/i)
    assert.match(raw.text, /\r\n\r\nfirst second$/)
  })

  test('server-sent events arrive one by one', async () => {
    let emit = (_text: string): void => {}
    listener = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      emit = text => response.write(text)
      emit('data: 0\n\n')
    }
    const { request, answered } = open(`${url}/ask`, {
      headers: { ...signedIn, accept: 'text/event-stream' },
    })
    request.end()
    const response = await answered
    assert.equal(response.headers['content-type'], 'text/event-stream')
    // Each event is sent only after the one before has arrived: any buffering on the way would stall this
    for (let count = 0; count < 20; count++) {
      const [chunk] = (await once(response, 'data')) as [Buffer]
      assert.equal(chunk.toString(), `data: ${count}\n\n`)
      emit(`data: ${count + 1}\n\n`)
    }
    request.destroy()
  })
})
