/** The gateway before the server that the services really run on: uvicorn and FastAPI, from Debian. */

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type Answer, bearer, open, type SendOptions, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'
import { needsUvicorn, startUvicorn, type Uvicorn } from './support/uvicorn.ts'

const skip = await needsUvicorn()

describe('a FastAPI service under uvicorn', { skip }, () => {
  let uvicorn: Uvicorn
  let gateway: GatewayProcess

  before(async () => {
    uvicorn = await startUvicorn('service')
    gateway = await startGateway({
      env: { GATEWAY_INGEST_SERVICE_URL: uvicorn.url, GATEWAY_HTTP_CLIENT_TIMEOUT: '2' },
    })
  })
  after(async () => {
    await gateway?.stop()
    await uvicorn?.stop()
  })

  const ask = (path: string, options: SendOptions = {}): Promise<Answer> =>
    send(`${gateway.url}/api/v1/ingest${path}`, {
      ...options,
      headers: { ...bearer(token()), ...options.headers },
    })

  test('sees the target, the body and the identity', async () => {
    const answer = await ask('/echo/%C3%A9%20x?a=1&a=%2F+', {
      method: 'POST',
      body: '{"q":"ü"}',
      headers: { 'Content-Type': 'application/json', 'X-Company-ID': 'globex' },
    })
    assert.equal(answer.status, 200)
    const seen = answer.json()
    assert.equal(seen.target, '/api/v1/ingest/echo/%C3%A9%20x?a=1&a=%2F+')
    assert.equal(seen.body, '{"q":"ü"}')
    assert.equal(seen.scheme, 'http')
    const named = (name: string): string[] =>
      seen.headers.filter(([own]: [string]) => own === name).map(([, value]: [string, string]) => value)
    assert.deepEqual(named('x-company-id'), ['acme'])
    assert.deepEqual(named('x-user-email'), ['ana@acme.example'])
    assert.deepEqual(named('content-type'), ['application/json'])
    assert.deepEqual(named('content-length'), ['10'])
    assert.equal(named('host').length, 1)
  })

  test('answers HEAD with its length', async () => {
    const head = await ask('/echo', { method: 'HEAD' })
    assert.equal(head.status, 200)
    assert.ok(Number(head.headers['content-length']) > 0)
    assert.equal(head.body.length, 0)
  })

  test('has one Server and one Date in its answers', async () => {
    const answer = await ask('/echo')
    assert.deepEqual(answer.values('server'), ['uvicorn'])
    assert.equal(answer.values('date').length, 1)
  })

  for (const framing of ['content-length', 'transfer-encoding']) {
    test(`hashes an upload with ${framing}`, async () => {
      const body = randomBytes(5_000_000)
      const { request, answered } = open(`${gateway.url}/api/v1/ingest/hash`, {
        method: 'POST',
        headers: {
          ...bearer(token()),
          [framing]: framing === 'content-length' ? String(body.length) : 'chunked',
        },
      })
      request.end(body)
      let text = ''
      for await (const chunk of await answered) text += chunk
      const expected = { size: body.length, sha256: createHash('sha256').update(body).digest('hex') }
      assert.deepEqual(JSON.parse(text), expected)
    })
  }

  test('reads multipart forms', async () => {
    const file = randomBytes(100_000)
    const form = new FormData()
    form.set('title', 'Été')
    form.set('file', new Blob([file]), 'report.pdf')
    const answer = await fetch(`${gateway.url}/api/v1/ingest/form`, {
      method: 'POST',
      headers: bearer(token()),
      body: form,
    })
    const sha256 = createHash('sha256').update(file).digest('hex')
    assert.deepEqual(await answer.json(), { title: 'Été', name: 'report.pdf', sha256 })
  })

  test('streams events as they happen', async () => {
    const { request, answered } = open(`${gateway.url}/api/v1/ingest/stream?events=15`, {
      headers: bearer(token()),
    })
    request.end()
    const arrivals: number[] = []
    let text = ''
    for await (const chunk of await answered) {
      text += chunk
      arrivals.push(performance.now())
    }
    assert.equal(text, Array.from({ length: 15 }, (_, n) => `id: ${n}\ndata: event ${n}\n\n`).join(''))
    // Sent 0.1 s apart: a gateway that waits for the end gives them all at once
    assert.ok(arrivals.length >= 3, `${arrivals.length} chunks`)
    assert.ok(arrivals.at(-1)! - arrivals[0]! > 150)
  })

  test('stops generating when the client leaves', async () => {
    const { request, answered } = open(`${gateway.url}/api/v1/ingest/stream?events=1000`, {
      headers: bearer(token()),
    })
    request.end()
    const response = await answered
    response.on('error', () => {})
    await new Promise(resolve => response.once('data', resolve))
    request.destroy()
    await until(
      'uvicorn sees the client leave',
      async () => (await send(`${uvicorn.url}/api/v1/ingest/left`)).status === 200,
    )
  })

  test('breaks the client when it breaks', async () => {
    await assert.rejects(ask('/broken'), /aborted|reset|hang up/i)
    assert.equal((await ask('/echo')).status, 200)
  })

  test('is timed out, and lives on', async () => {
    const answer = await ask('/slow?seconds=20')
    assert.equal(answer.status, 504)
    assert.equal(answer.json().detail, 'Upstream service timeout.')
    assert.equal((await ask('/slow?seconds=0')).status, 200)
  })

  test('redirects, sets cookies and says nothing, each in its way', async () => {
    const redirect = await ask('/redirect')
    assert.equal(redirect.status, 307)
    assert.equal(redirect.headers.location, '/api/v1/ingest/echo?redirected=1')
    const cookies = (await ask('/cookies')).values('set-cookie')
    assert.deepEqual(
      cookies.map(line => line.split(';')[0]),
      ['first=1', 'second=2'],
    )
    const nothing = await ask('/nothing')
    assert.equal(nothing.status, 204)
    assert.equal(nothing.body.length, 0)
  })

  test('refuses in its own words', async () => {
    const answer = await ask('/slow?seconds=soon')
    assert.equal(answer.status, 422)
    assert.equal(answer.json().detail[0].loc[1], 'seconds')
  })

  test('may close idle connections before the gateway does', async () => {
    const hasty = await startUvicorn('service', ['--timeout-keep-alive', '1'])
    const other = await startGateway({ env: { GATEWAY_INGEST_SERVICE_URL: hasty.url } })
    const round = async (method: string): Promise<number> =>
      (await send(`${other.url}/api/v1/ingest/echo`, { method, headers: bearer(token()) })).status
    try {
      const lanes = Array.from({ length: 10 }, async (_, lane) => {
        const statuses = [await round('POST')]
        // Around the very moment at which uvicorn closes, and well after it
        await delay(980 + lane * 4)
        statuses.push(await round('GET'))
        await delay(1_500)
        statuses.push(await round('POST'))
        return statuses
      })
      assert.deepEqual(new Set((await Promise.all(lanes)).flat()), new Set([200]))
    } finally {
      await other.stop()
      await hasty.stop()
    }
  })
})
