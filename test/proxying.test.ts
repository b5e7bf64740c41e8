/** What the client sends is what the service gets: target, framing, header lines, and bytes in their time. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { exchangeRaw, wholeAnswer } from './support/raw.ts'
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

/** Answers 200 and gives what arrived. */
function recordNext(): Promise<{ request: http.IncomingMessage; body: Buffer }> {
  return new Promise((resolve, reject) => {
    listener = (request, response) => {
      read(request).then(body => {
        response.end('ok')
        resolve({ request, body })
      }, reject)
    }
  })
}

async function read(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('targets', () => {
  const targets = [
    '/',
    '/doc/',
    '/a%20b',
    '/%C3%A9t%C3%A9',
    '/%c3%a9',
    "/a!$&'()*+,=:@~-._",
    '/doc?',
    '/doc??',
    '/doc?a=1&a=2&b=&c',
    '/doc?q=%20+%2B%2f%2F',
    '/doc?q=%zz&r=%',
    '/doc?path=a/../b//c',
    '/doc?url=http://x//y?z#',
    '/doc?[x]={y}|"^`',
    `/long/${'x'.repeat(4_000)}?${'y'.repeat(2_000)}`,
  ]
  for (const target of targets) {
    test(`arrive byte for byte: ${target.slice(0, 40)}`, async () => {
      const recorded = recordNext()
      const sent = `/api/v1/ingest${target}`
      const answer = await exchangeRaw(
        gateway.port,
        `GET ${sent} HTTP/1.1\r\nHost: h\r\nAuthorization: ${signedIn.authorization}\r\n\r\n`,
        { until: wholeAnswer },
      )
      assert.equal(answer.status, 200)
      assert.equal((await recorded).request.url, sent)
    })
  }

  test("stand behind the path of the upstream's URL", async () => {
    const recorded = recordNext()
    await send(`${gateway.url}/api/v1/auth/token?grant_type=password`, { method: 'POST' })
    assert.equal((await recorded).request.url, '/base/api/v1/auth/token?grant_type=password')
  })
})

describe('request bodies', () => {
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'GET']) {
    test(`${method} with a length keeps it`, async () => {
      const recorded = recordNext()
      const body = randomBytes(70_000)
      const headers = { ...signedIn, 'content-length': String(body.length) }
      assert.equal((await send(`${url}/x`, { method, headers, body })).status, 200)
      const { request, body: arrived } = await recorded
      assert.equal(request.method, method)
      assert.equal(request.headers['content-length'], '70000')
      assert.equal(request.headers['transfer-encoding'], undefined)
      assert.ok(arrived.equals(body))
    })
  }

  test('chunked stays chunked', async () => {
    const recorded = recordNext()
    const { request, answered } = open(`${url}/x`, {
      method: 'POST',
      headers: { ...signedIn, 'transfer-encoding': 'chunked' },
    })
    const body = randomBytes(200_000)
    for (let at = 0; at < body.length; at += 30_001) request.write(body.subarray(at, at + 30_001))
    request.end()
    assert.equal((await answered).statusCode, 200)
    const { request: arrived, body: arrivedBody } = await recorded
    assert.equal(arrived.headers['transfer-encoding'], 'chunked')
    assert.equal(arrived.headers['content-length'], undefined)
    assert.ok(arrivedBody.equals(body))
  })

  test('none stays none, and empty stays empty', async () => {
    for (const [method, headers] of [
      ['GET', {}],
      ['DELETE', {}],
      ['POST', { 'content-length': '0' }],
    ] as const) {
      const recorded = recordNext()
      await send(`${url}/x`, { method, headers: { ...signedIn, ...headers } })
      const { request } = await recorded
      assert.equal(request.headers['content-length'], method === 'POST' ? '0' : undefined)
      assert.equal(request.headers['transfer-encoding'], undefined)
    }
  })

  test('multipart forms arrive as they were written', async () => {
    const form = new FormData()
    form.set('title', 'Jahresbericht – ünïcode')
    form.set('file', new Blob([randomBytes(10_000)], { type: 'application/pdf' }), 'bericht "1".pdf')
    const encoded = new Response(form)
    const type = encoded.headers.get('content-type')!
    const body = Buffer.from(await encoded.arrayBuffer())
    const recorded = recordNext()
    await send(`${url}/upload`, { method: 'POST', headers: { ...signedIn, 'content-type': type }, body })
    const { request, body: arrived } = await recorded
    assert.equal(request.headers['content-type'], type)
    assert.ok(arrived.equals(body))
  })

  test('arrive while the client still sends', async () => {
    let firstArrived = (): void => {}
    const first = new Promise<void>(resolve => {
      firstArrived = resolve
    })
    listener = async (request, response) => {
      request.once('data', firstArrived)
      response.end(await read(request))
    }
    const { request, answered } = open(`${url}/x`, { method: 'POST', headers: signedIn })
    request.write('early ')
    await first
    request.end('late')
    assert.equal((await read(await answered)).toString(), 'early late')
  })

  test('flow both ways at once', async () => {
    listener = (request, response) => {
      response.writeHead(200)
      response.flushHeaders()
      request.pipe(response)
    }
    const { request, answered } = open(`${url}/echo`, { method: 'POST', headers: signedIn })
    request.write('ping 0;')
    const response = await answered
    for (let round = 0; round < 5; round++) {
      const [chunk] = (await once(response, 'data')) as [Buffer]
      assert.equal(chunk.toString(), `ping ${round};`)
      if (round < 4) request.write(`ping ${round + 1};`)
    }
    request.end()
    response.resume()
    await once(response, 'end')
  })

  test('an answer before the upload is whole reaches the client', async () => {
    listener = (_, response) => {
      response.writeHead(413, { connection: 'close', 'content-type': 'text/plain' })
      response.end('too much for me')
    }
    const { request, answered } = open(`${url}/x`, {
      method: 'POST',
      headers: { ...signedIn, 'content-length': String(50_000_000) },
    })
    request.write(randomBytes(65_536))
    const response = await answered
    assert.equal(response.statusCode, 413)
    assert.equal((await read(response)).toString(), 'too much for me')
    request.destroy()
  })
})

describe('large bodies', () => {
  const piece = randomBytes(1024 * 1024)
  const PIECES = 50
  const expected = (() => {
    const hash = createHash('sha256')
    for (let count = 0; count < PIECES; count++) hash.update(piece)
    return hash.digest('hex')
  })()

  async function writeAll(stream: http.ClientRequest | http.ServerResponse): Promise<void> {
    for (let count = 0; count < PIECES; count++) {
      if (!stream.write(piece)) await once(stream, 'drain')
    }
    stream.end()
  }

  async function digest(stream: AsyncIterable<Buffer>): Promise<string> {
    const hash = createHash('sha256')
    for await (const chunk of stream) hash.update(chunk)
    return hash.digest('hex')
  }

  for (const framing of [
    { 'content-length': String(PIECES * 1024 * 1024) },
    { 'transfer-encoding': 'chunked' },
  ]) {
    const [name] = Object.keys(framing)
    test(`50 MB go up whole with ${name}`, async () => {
      listener = async (request, response) => void response.end(await digest(request))
      const { request, answered } = open(`${url}/up`, {
        method: 'POST',
        headers: { ...signedIn, ...(framing as Record<string, string>) },
      })
      await writeAll(request)
      assert.equal((await read(await answered)).toString(), expected)
    })

    test(`50 MB come down whole with ${name}`, async () => {
      listener = (_, response) => {
        response.writeHead(200, framing as http.OutgoingHttpHeaders)
        void writeAll(response)
      }
      const { request, answered } = open(`${url}/down`, { headers: signedIn })
      request.end()
      const response = await answered
      assert.equal(response.headers[name!], Object.values(framing)[0])
      assert.equal(await digest(response), expected)
    })
  }
})

describe('cookies and the host', () => {
  test('cookies stay with the gateway, the token goes on', async () => {
    const recorded = recordNext()
    await send(`${url}/x`, { headers: { ...signedIn, cookie: 'sb-auth-token=secret; theme=dark' } })
    const { request } = await recorded
    assert.equal(request.headers.cookie, undefined)
    assert.equal(request.headers.authorization, signedIn.authorization)
  })

  test('the auth service gets the bearer and apikey as they were', async () => {
    const recorded = recordNext()
    await send(`${gateway.url}/api/v1/auth/user`, {
      headers: { authorization: 'Bearer whatever', apikey: 'anon', 'x-client-info': 'supabase-js/2' },
    })
    const { headers } = (await recorded).request
    assert.equal(headers.authorization, 'Bearer whatever')
    assert.equal(headers.apikey, 'anon')
    assert.equal(headers['x-client-info'], 'supabase-js/2')
  })

  test("the service gets its own host, and the client's as X-Forwarded-Host", async () => {
    const recorded = recordNext()
    await send(`${url}/x`, { headers: { ...signedIn, host: 'api.acme.example' } })
    const { headers } = (await recorded).request
    assert.equal(headers.host, new URL(backend.url).host)
    assert.equal(headers['x-forwarded-host'], 'api.acme.example')
    assert.equal(headers['x-forwarded-proto'], 'http')
    assert.equal(headers['x-forwarded-for'], '127.0.0.1')
  })
})
