/** The log: one line for each exchange, whole JSON, and never what must stay secret. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, type LogRecord, SECRET, startGateway } from './support/gateway.ts'
import { exchangeRaw } from './support/raw.ts'
import { type Service, service } from './support/service.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'

const USER = '7f6c0d4e-3b0a-4c7e-9a57-0d2f5f0b9a11'

let backend: Service
let gateway: GatewayProcess

before(async () => {
  backend = await service((request, response) => {
    request.resume()
    if (request.url?.includes('break')) {
      response.writeHead(200, { 'content-length': '100' })
      response.write('ten bytes.', () => response.destroy())
    } else if (request.url?.includes('endless')) {
      response.write('first')
    } else request.on('end', () => response.end('hello'))
  })
  gateway = await startGateway({
    env: {
      GATEWAY_INGEST_SERVICE_URL: backend.url,
      GATEWAY_AUTH_SERVICE_URL: backend.url,
      GATEWAY_LOG_LEVEL: 'DEBUG',
    },
  })
})

after(async () => {
  await gateway?.stop()
  await backend?.close()
})

let serial = 0
const fresh = (): string => `request-${serial++}-of-logging`

/** Access lines of one request; the first is awaited. */
async function accessLines(id: string): Promise<LogRecord[]> {
  await gateway.logged(record => record.request_id === id && 'status_code' in record)
  return gateway.log.filter(record => record.request_id === id && 'status_code' in record)
}

describe('access lines', () => {
  test('tell of an exchange what the first gateway told', async () => {
    const id = fresh()
    await send(`${gateway.url}/api/v1/ingest/doc?name=private`, {
      method: 'POST',
      headers: { ...bearer(token()), 'X-Request-ID': id },
      body: 'four',
    })
    const [line] = (await accessLines(id)) as [LogRecord]
    assert.equal(line.method, 'POST')
    assert.equal(line.path, '/api/v1/ingest/doc')
    assert.equal(line.status_code, 200)
    assert.equal(line.client_ip, '127.0.0.1')
    assert.equal(line.company_id, 'acme')
    assert.equal(line.user_id, USER)
    assert.equal(line.bytes_sent, 5)
    assert.equal(line.bytes_received, 4)
    assert.equal(line.level, 'info')
    assert.ok(Number(line.duration) > 0 && Number(line.duration) < 60, 'seconds')
    assert.ok(Math.abs(Date.parse(String(line.timestamp)) - Date.now()) < 60_000)
    assert.equal(typeof line.event, 'string')
  })

  test('stand once for each exchange, whatever its end', async () => {
    const headers = (id: string) => ({ ...bearer(token()), 'X-Request-ID': id })
    const url = `${gateway.url}/api/v1/ingest`
    const ids = {
      ok: fresh(),
      refused: fresh(),
      unknown: fresh(),
      own: fresh(),
      unreachable: fresh(),
      broken: fresh(),
      left: fresh(),
    }
    await send(`${url}/x`, { headers: headers(ids.ok) })
    await send(`${url}/x`, { headers: { 'X-Request-ID': ids.refused } })
    await send(`${gateway.url}/nowhere`, { headers: headers(ids.unknown) })
    await send(`${gateway.url}/health`, { headers: headers(ids.own) })
    await send(`${gateway.url}/api/v1/query/x`, { headers: headers(ids.unreachable) })
    await assert.rejects(send(`${url}/break`, { headers: headers(ids.broken) }))
    const { request, answered } = open(`${url}/endless`, { headers: headers(ids.left) })
    request.end()
    const response = await answered
    response.on('error', () => {})
    await once(response, 'data')
    request.destroy()
    const expected = {
      ok: 200,
      refused: 401,
      unknown: 404,
      own: 200,
      unreachable: 503,
      broken: 200,
      left: 200,
    }
    // Everything above is settled when the last line of a later request is there
    for (const id of Object.values(ids)) if (id !== ids.own) await accessLines(id)
    const last = fresh()
    await send(`${url}/x`, { headers: headers(last) })
    await accessLines(last)
    for (const [name, id] of Object.entries(ids)) {
      const lines = gateway.log.filter(record => record.request_id === id && 'status_code' in record)
      // Probes of health may be left out of the log
      if (name === 'own' && lines.length === 0) continue
      assert.equal(lines.length, 1, `${name}: ${JSON.stringify(lines)}`)
      const status = lines[0]!.status_code
      if (name !== 'left') assert.equal(status, expected[name as keyof typeof expected], name)
    }
    const of = (id: string) =>
      gateway.log.find(record => record.request_id === id && 'status_code' in record)!
    assert.notEqual(
      of(ids.broken).outcome,
      of(ids.ok).outcome,
      'a broken answer is not logged as a whole one',
    )
    assert.notEqual(of(ids.left).outcome, of(ids.ok).outcome, 'a client that left is not logged as answered')
    assert.equal(of(ids.broken).bytes_sent, 10)
  })

  test('are settled at the end of the answer, not at its head', async () => {
    const id = fresh()
    const { request, answered } = open(`${gateway.url}/api/v1/ingest/endless`, {
      headers: { ...bearer(token()), 'X-Request-ID': id },
    })
    request.end()
    const response = await answered
    response.on('error', () => {})
    await once(response, 'data')
    const other = fresh()
    await send(`${gateway.url}/api/v1/ingest/x`, { headers: { ...bearer(token()), 'X-Request-ID': other } })
    await accessLines(other)
    assert.ok(!gateway.log.some(record => record.request_id === id && 'status_code' in record))
    request.destroy()
    assert.equal((await accessLines(id)).length, 1)
  })
})

describe('secrets', () => {
  test('stand in no line at any level: tokens, e-mails, queries, cookies, bodies, keys', async () => {
    const good = token(claims({ email: 'carla.private@acme.example' }))
    const expired = token(claims({ exp: 1, email: 'carla.private@acme.example' }))
    const id = fresh()
    const url = `${gateway.url}/api/v1/ingest/x?apikey=query-secret&email=carla.private@acme.example`
    for (const presented of [good, expired, `${good}x`, 'sb_secret_very-private-key']) {
      await send(url, {
        method: 'POST',
        body: '{"password":"body-secret"}',
        headers: {
          ...bearer(presented),
          cookie: 'session=cookie-secret',
          apikey: 'apikey-secret',
          'X-User-Email': 'carla.private@acme.example',
          'X-Request-ID': id,
        },
      })
    }
    await send(`${gateway.url}/api/v1/auth/token?refresh_token=query-secret`, {
      method: 'POST',
      body: 'body-secret',
    })
    await send(`${gateway.url}/api/v1/query/unreachable?q=query-secret`, { headers: bearer(good) })
    await send(`${gateway.url}/nowhere?q=query-secret`, { headers: { 'X-Request-ID': id, ...bearer(good) } })
    const last = fresh()
    await send(`${gateway.url}/api/v1/ingest/last`, { headers: { ...bearer(good), 'X-Request-ID': last } })
    await accessLines(last)
    // Each worker hands over its lines in its own time: the last request's may come before the others'
    await until('all are logged', () => gateway.log.filter(record => record.request_id === id).length >= 5)
    await gateway.logged(({ path }) => path === '/api/v1/auth/token')
    await gateway.logged(({ path }) => path === '/api/v1/query/unreachable')
    const text = JSON.stringify(gateway.log)
    // The log is the right one and has these requests in it
    assert.ok(text.includes(id) && text.includes('/api/v1/auth/token') && text.includes(USER))
    const secrets = [
      'carla.private',
      'query-secret',
      'cookie-secret',
      'apikey-secret',
      'body-secret',
      'very-private-key',
    ]
    for (const secret of [...secrets, ...good.split('.'), ...expired.split('.').slice(1)]) {
      assert.ok(!text.includes(secret), `${secret} is in the log`)
    }
  })
})

describe('hostile text', () => {
  const ESC = '\x1b[31m'
  test('stays on one line, as JSON, without control characters', async () => {
    const answers = await Promise.all([
      exchangeRaw(
        gateway.port,
        `GET /api/v1/ingest/a%0d%0a%7b%22level%22:%22forged%22%7d HTTP/1.1\r\nHost: h\r\nUser-Agent: ${ESC}","level":"forged\r\n` +
          `Authorization: Bearer ${token(claims({ sub: 'user', role: '\u001b[31m\n{"level":"forged"}' }), { header: { kid: '\n{"level":"forged"}\u001b' } })}\r\nConnection: close\r\n\r\n`,
      ),
      exchangeRaw(
        gateway.port,
        `GET /api/v1/ingest/x HTTP/1.1\r\nHost: h\r\nX-Request-ID: ${ESC}{"level":"forged"}\r\nConnection: close\r\n\r\n`,
      ),
      exchangeRaw(gateway.port, `GET /"},{"level":"forged HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`),
      exchangeRaw(
        gateway.port,
        `GET /api/v1/ingest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${ESC}\xff.b.c\r\nConnection: close\r\n\r\n`,
      ),
      send(`${gateway.url}/api/v1/ingest/x`, {
        headers: bearer(
          token(
            claims({ app_metadata: { company_id: 'a\n{"level":"forged"}\u001b' }, email: '\u001b[2J\n' }),
          ),
        ),
      }),
    ])
    for (const { status } of answers) assert.ok(status >= 200 && status < 500, `status ${status}`)
    const last = fresh()
    await send(`${gateway.url}/api/v1/ingest/x`, { headers: { ...bearer(token()), 'X-Request-ID': last } })
    await accessLines(last)
    assert.ok(gateway.log.length >= answers.length)
    for (const record of gateway.log) {
      assert.ok(!('raw' in record), `no JSON: ${record.raw}`)
      assert.notEqual(record.level, 'forged')
      assert.doesNotMatch(JSON.stringify(Object.values(record)), /[\x00-\x1f\x7f\x9b]/)
      assert.doesNotMatch(JSON.stringify(record), /\\u001b|\\u009b/)
    }
  })
})

describe('levels and formats', () => {
  /** What is printed of a refused request and a good one. At a high level nothing tells the port, so it is chosen here. */
  async function printed(env: Record<string, string>): Promise<string> {
    const port = await freePort()
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('../src/main.ts', import.meta.url)), 'start'],
      {
        env: {
          PATH: process.env.PATH,
          PORT: String(port),
          GATEWAY_HOST: '127.0.0.1',
          GATEWAY_ADMIN_PORT: 'off',
          GATEWAY_JWT_SECRET: SECRET,
          GATEWAY_INGEST_SERVICE_URL: backend.url,
          GATEWAY_QUERY_SERVICE_URL: backend.url,
          ...env,
        },
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    let text = ''
    child.stdout.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
    const url = `http://127.0.0.1:${port}`
    await until('it listens', async () => (await send(`${url}/nowhere`)).status === 404)
    await send(`${url}/api/v1/ingest/x`, { headers: bearer(token()) })
    const closed = once(child, 'close')
    child.kill()
    await closed
    return text
  }

  const levels = (text: string): Set<string> =>
    new Set(
      text
        .split('\n')
        .filter(Boolean)
        .map(line => JSON.parse(line).level),
    )

  test('info shows everything but debug', async () => {
    const found = levels(await printed({ GATEWAY_LOG_LEVEL: 'INFO' }))
    assert.ok(found.has('info'))
    assert.ok(!found.has('debug'))
  })

  test('warning shows refusals and no good exchange', async () => {
    const text = await printed({ GATEWAY_LOG_LEVEL: 'WARNING' })
    assert.ok(!levels(text).has('info'))
    assert.match(text, /nowhere/)
    assert.doesNotMatch(text, /ingest\/x/)
  })

  test('error shows neither', async () => assert.equal(await printed({ GATEWAY_LOG_LEVEL: 'ERROR' }), ''))

  test('pretty is for people', async () => {
    const text = await printed({ GATEWAY_LOG_FORMAT: 'pretty' })
    assert.match(text, /Gateway listening/)
    assert.match(text, /\/api\/v1\/ingest\/x/)
    for (const line of text.split('\n').filter(Boolean)) assert.ok(!line.startsWith('{'), line)
  })
})

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
