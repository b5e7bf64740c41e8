/** Event streams over HTTP/2, in front of the gateway and behind it: the same rights, the same ends. */

import assert from 'node:assert/strict'
import type { ClientHttp2Session, OutgoingHttpHeaders } from 'node:http2'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import { type GatewayProcess, SECRET } from './support/gateway.ts'
import { answerTo, type Http2Answer, openSession } from './support/http2-client.ts'
import { type Http2Upstream, http2Upstream } from './support/http2-upstream.ts'
import { type Service, service } from './support/service.ts'
import { claims, expiringSoon, token } from './support/token.ts'
import { until } from './support/until.ts'

/** Begins an event and waits; what ends it is the test, or the gateway. */
let plain: Service
let modern: Http2Upstream
let gateway: GatewayProcess
let session: ClientHttp2Session
let closed = 0

before(async () => {
  plain = await service((_, response) => {
    response.on('close', () => closed++)
    // A length that the gateway cannot keep
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-length': '1000' })
    response.write('data: one\n\n')
  })
  modern = await http2Upstream(({ stream }) => {
    stream.on('close', () => closed++)
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream', 'content-length': '1000' })
    stream.write('data: one\n\n')
  })
  const eventStream = { errorEvent: true, heartbeat: 0.4 }
  gateway = await startConfigured(
    {
      identity: { secret: SECRET, leeway: 0 },
      server: { http2: { cleartext: true }, drainTimeout: 3 },
      routes: [
        { path: '/plain', upstream: plain.url, eventStream },
        { path: '/modern', upstream: { url: modern.url, protocol: 'h2c' }, eventStream, tickets: true },
      ],
    },
    { GATEWAY_ADMIN_PORT: '0' },
  )
  session = await openSession(gateway.url)
})
after(async () => {
  session?.destroy()
  await gateway?.stop('SIGKILL')
  await Promise.all([plain?.close(), modern?.close()])
})

function listen(
  path: string,
  identity: Record<string, unknown> = {},
): { answer: Promise<Http2Answer>; begun: Promise<unknown> } {
  return ask({ ':path': path, authorization: `Bearer ${token(claims(identity))}` })
}

function ask(headers: OutgoingHttpHeaders): { answer: Promise<Http2Answer>; begun: Promise<unknown> } {
  const stream = session.request({ accept: 'text/event-stream', ...headers })
  return { answer: answerTo(stream), begun: new Promise(resolve => stream.once('data', resolve)) }
}

const endOf = (code: string): RegExp =>
  new RegExp(`^data: one\\n\\n(?::\\n)*event: error\\ndata: {"code":"${code}","detail":"[^"]+"}\\n\\n$`)

for (const path of ['/plain', '/modern']) {
  describe(`over HTTP/2, from ${path}`, { timeout: 30_000 }, () => {
    test('ends with its token, whole, and its upstream is let go of', async () => {
      const before = closed
      const answer = await listen(path, { exp: expiringSoon() }).answer
      assert.equal(answer.status, 200)
      assert.equal(answer.headers['content-length'], undefined)
      assert.match(answer.text, endOf('token_expired'))
      assert.match(answer.text, /:\n/, 'with a heartbeat in between')
      assert.equal(answer.code, 0)
      await until('its upstream is let go of', () => closed > before)
    })

    test('ends when its company is blocked', async () => {
      const company = `blocked${path.slice(1)}`
      const { answer, begun } = listen(path, { app_metadata: { company_id: company } })
      await begun
      const { status } = await send(`${gateway.adminUrl}/revocations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ company_id: company }),
      })
      assert.equal(status, 204)
      assert.match((await answer).text, endOf('company_blocked'))
    })
  })
}

test('a ticket opens one over HTTP/2, once', async () => {
  const issued = await send(`${gateway.url}/api/v1/tickets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token(claims({ exp: expiringSoon() }))}` },
  })
  const path = `/modern?ticket=${issued.json().ticket}`
  const { answer, begun } = ask({ ':path': path })
  await begun
  assert.equal((await ask({ ':path': path }).answer).status, 401)
  assert.match((await answer).text, endOf('token_expired'))
  assert.ok(modern.requests.every(request => !request.path.includes('ticket')))
})

test('when the gateway stops they end one by one, and their connection with them', async () => {
  const streams = Array.from({ length: 8 }, (_, i) => listen(i % 2 === 0 ? '/plain' : '/modern'))
  await Promise.all(streams.map(({ begun }) => begun))
  const stopped = gateway.stop()
  for (const { answer } of streams) {
    const { text, code } = await answer
    assert.match(text, endOf('draining'))
    assert.equal(code, 0)
  }
  assert.equal(await stopped, 0)
})
