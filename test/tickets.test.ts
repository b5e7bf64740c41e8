/** Streams of browsers, which cannot send headers: single-use tickets, and tokens in subprotocols. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket, WebSocketServer } from 'ws'
import { bearer, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { claims, token } from './support/token.ts'
import { type RecordingUpstream, recordingUpstream } from './support/upstream.ts'

const APP = 'https://app.example.com'
const OTHER_APP = 'https://other.example.com'
const EVENTS =
  'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n' +
  'b\r\ndata: one\n\n\r\n0\r\n\r\n'

let upstream: RecordingUpstream
let sockets: SocketServer
let gateway: GatewayProcess
/** Everything that must not be found anywhere. */
const secrets: string[] = []

/** One of its own: tokens in headers do go upstream. */
function secretToken(over: Record<string, unknown> = {}): string {
  const signed = token(claims({ jti: crypto.randomUUID(), ...over }))
  secrets.push(signed)
  return signed
}

async function issue(
  headers: Record<string, string> = {},
  over: Record<string, unknown> = {},
): Promise<string> {
  const answer = await send(`${gateway.url}/api/v1/tickets`, {
    method: 'POST',
    headers: { ...bearer(secretToken(over)), ...headers },
  })
  assert.equal(answer.status, 201)
  const { ticket } = answer.json() as { ticket: string }
  secrets.push(ticket)
  return ticket
}

const openStream = (target: string, headers: Record<string, string> = {}) =>
  send(`${gateway.url}${target}`, { headers: { accept: 'text/event-stream', ...headers } })

before(async () => {
  upstream = await recordingUpstream(({ socket }) => socket.write(EVENTS))
  sockets = await socketServer()
  const streams = { tickets: true, websocket: { tokenInSubprotocol: true } }
  gateway = await startConfigured({
    log: { level: 'debug' },
    cors: { origins: [APP, OTHER_APP] },
    routes: [
      { path: '/live/*', upstream: upstream.url, ...streams },
      { path: '/open/*', upstream: upstream.url, auth: 'optional', ...streams },
      { path: '/plain/*', upstream: upstream.url },
      { path: '/socket/*', upstream: sockets.url, ...streams },
    ],
  })
})
after(async () => {
  await gateway?.stop()
  await sockets?.close()
  await upstream?.close()
})

describe('POST /api/v1/tickets', () => {
  const ask = (headers: Record<string, string> = {}, method = 'POST') =>
    send(`${gateway.url}/api/v1/tickets`, { method, headers })

  test('gives a page of an allowed origin a ticket that no cache keeps', async () => {
    const preflight = await ask(
      {
        origin: APP,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
      'OPTIONS',
    )
    assert.equal(preflight.status, 204)
    assert.equal(preflight.headers['access-control-allow-origin'], APP)
    assert.equal(preflight.headers['access-control-allow-headers'], 'authorization')
    const answer = await ask({ origin: APP, ...bearer(token()) })
    assert.equal(answer.status, 201)
    assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
    assert.equal(answer.headers['cache-control'], 'no-store')
    assert.equal(answer.headers['access-control-allow-origin'], APP)
    assert.ok(answer.headers['x-request-id'])
    const { ticket, expires_in } = answer.json()
    assert.match(ticket, /^[\w-]{22,}$/)
    assert.equal(expires_in, 30)
  })

  test('refuses as any route does, readable for the page', async () => {
    const answer = await ask({ origin: APP })
    assert.deepEqual([answer.status, answer.json().code], [401, 'not_authenticated'])
    assert.equal(answer.headers['access-control-allow-origin'], APP)
    const stray = await ask(bearer(token(claims({ app_metadata: {} }))))
    assert.deepEqual([stray.status, stray.json().code], [403, 'company_missing'])
    const got = await ask(bearer(token()), 'GET')
    assert.deepEqual([got.status, got.headers.allow], [405, 'POST'])
  })

  test('is described', async () => {
    const document = (await send(`${gateway.url}/openapi.json`)).json()
    assert.deepEqual(document.paths['/api/v1/tickets'].post.security, [{ bearer: [] }])
    assert.deepEqual(document.paths['/live/{path}'].get.security, [{ bearer: [] }, { ticket: [] }])
    assert.equal(document.components.securitySchemes.ticket.name, 'ticket')
    assert.match((await send(`${gateway.url}/docs`)).text, /POST \/api\/v1\/tickets/)
  })

  test('is not there where no route takes tickets', async () => {
    const without = await startConfigured({ routes: [{ path: '/live/*', upstream: upstream.url }] })
    try {
      const answer = await send(`${without.url}/api/v1/tickets`, { method: 'POST', headers: bearer(token()) })
      assert.equal(answer.status, 404)
      assert.doesNotMatch((await send(`${without.url}/openapi.json`)).text, /ticket"/)
    } finally {
      await without.stop()
    }
  })
})

describe('an event stream', () => {
  test('opens with a ticket, for the user of its token, and only once', async () => {
    const ticket = await issue({ origin: APP }, { sub: 'ana' })
    const target = `/live/answers?q=%20a&ticket=${ticket}&last=1`
    const answer = await openStream(target, { origin: APP })
    assert.deepEqual([answer.status, answer.text], [200, 'data: one\n\n'])
    const request = upstream.requests.at(-1)!
    assert.equal(request.target, '/live/answers?q=%20a&last=1')
    assert.deepEqual(request.values('x-user-id'), ['ana'])
    assert.deepEqual(request.values('x-company-id'), ['acme'])
    assert.deepEqual(request.values('authorization'), [])

    const again = await openStream(target, { origin: APP })
    assert.deepEqual([again.status, again.json().code], [401, 'ticket_invalid'])
    assert.match(again.headers['www-authenticate'] ?? '', /^Bearer/)
    assert.equal(again.headers['access-control-allow-origin'], APP)
  })

  test('is the only one of many that come with one ticket at once', async () => {
    for (let round = 0; round < 5; round++) {
      const ticket = await issue()
      const before = upstream.requests.length
      const answers = await Promise.all(
        Array.from({ length: 24 }, () => openStream(`/live/x?ticket=${ticket}`)),
      )
      const statuses = answers.map(({ status }) => status).sort()
      assert.deepEqual(statuses, [200, ...Array.from({ length: 23 }, () => 401)])
      assert.equal(upstream.requests.length, before + 1)
    }
  })

  test('of another origin than the ticket’s is refused', async () => {
    const ticket = await issue({ origin: APP })
    const answer = await openStream(`/live/x?ticket=${ticket}`, { origin: OTHER_APP })
    assert.deepEqual([answer.status, answer.json().code], [401, 'ticket_invalid'])
  })

  test('is refused with a ticket that is none, also where a token is optional', async () => {
    for (const path of ['/live/x', '/open/x'])
      for (const ticket of ['', 'x', '%00', 'A'.repeat(24), 'A'.repeat(7_000)]) {
        const answer = await openStream(`${path}?ticket=${ticket}`)
        assert.deepEqual([answer.status, answer.json().code], [401, 'ticket_invalid'], `${path} ${ticket}`)
      }
    assert.equal((await openStream('/open/x')).status, 200)
    assert.deepEqual(upstream.requests.at(-1)!.values('x-user-id'), [])
  })

  test('is refused with more than one credential', async () => {
    const ticket = await issue()
    const both = await openStream(`/live/x?ticket=${ticket}`, bearer(secretToken()))
    assert.deepEqual([both.status, both.json().code], [400, 'repeated_authorization'])
    const twice = await openStream(`/live/x?ticket=${ticket}&%74icket=${ticket}`)
    assert.deepEqual([twice.status, twice.json().code], [400, 'repeated_authorization'])
    assert.equal((await openStream(`/live/x?ticket=${ticket}`)).status, 200)
  })

  test('never opens with a token in its URL, and the upstream does not learn it', async () => {
    const refused = await openStream(`/live/x?access_token=${secretToken()}`)
    assert.deepEqual([refused.status, refused.json().code], [401, 'not_authenticated'])
    const allowed = await openStream(`/live/x?a&access_token=${secretToken()}&b`, bearer(token()))
    assert.equal(allowed.status, 200)
    assert.equal(upstream.requests.at(-1)!.target, '/live/x?a&b')
  })

  test('opens with a ticket until its time is over', async () => {
    const brief = await startConfigured({
      tickets: { path: '/ticket', lifetime: '2s' },
      routes: [{ path: '/live/*', upstream: upstream.url, tickets: true }],
    })
    try {
      const take = async (): Promise<string> => {
        const answer = await send(`${brief.url}/ticket`, { method: 'POST', headers: bearer(token()) })
        return (answer.json() as { ticket: string }).ticket
      }
      const use = async (ticket: string): Promise<number> => {
        const headers = { accept: 'text/event-stream' }
        return (await send(`${brief.url}/live/x?ticket=${ticket}`, { headers })).status
      }
      const late = await take()
      await delay(2_100)
      assert.equal(await use(late), 401)
      assert.equal(await use(await take()), 200)
    } finally {
      await brief.stop()
    }
  })

  test('does not open once the token behind the ticket was revoked', async () => {
    const revoking = await startConfigured(
      { routes: [{ path: '/live/*', upstream: upstream.url, tickets: true }] },
      { GATEWAY_ADMIN_PORT: '0' },
    )
    try {
      const headers = bearer(token(claims({ session_id: 'one' })))
      const issued = await send(`${revoking.url}/api/v1/tickets`, { method: 'POST', headers })
      const revoked = await send(`${revoking.adminUrl}/revocations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ session_id: 'one' }),
      })
      assert.equal(revoked.status, 204)
      const answer = await send(`${revoking.url}/live/x?ticket=${issued.json().ticket}`, {
        headers: { accept: 'text/event-stream' },
      })
      assert.deepEqual([answer.status, answer.json().code], [401, 'token_revoked'])
    } finally {
      await revoking.stop()
    }
  })
})

test('a parameter called ticket passes with any other request, and on any other route', async () => {
  const headers = bearer(token())
  const targets = ['/live/x?ticket=17&access_token=x', '/plain/x?ticket=17']
  assert.equal((await send(`${gateway.url}${targets[0]}`, { headers })).status, 200)
  assert.equal(upstream.requests.at(-1)!.target, targets[0])
  assert.equal((await openStream(targets[1]!, headers)).status, 200)
  assert.equal(upstream.requests.at(-1)!.target, targets[1])
  assert.equal((await openStream(`/plain/x?ticket=${await issue()}`)).json().code, 'not_authenticated')
})

test('a live ticket, or a token, that comes with another request stays behind', async () => {
  const target = `/live/x?a=1&ticket=${await issue()}&access_token=${token()}&b=2`
  assert.equal((await send(`${gateway.url}${target}`, { headers: bearer(token()) })).status, 200)
  assert.equal(upstream.requests.at(-1)!.target, '/live/x?a=1&b=2')
})

describe('a WebSocket', () => {
  test('opens with a ticket, and only once', async () => {
    const ticket = await issue({ origin: APP }, { sub: 'bob' })
    const target = `/socket/chat?room=1&ticket=${ticket}`
    const { client, head } = await connect(target, [], { origin: APP })
    assert.equal(head.url, '/socket/chat?room=1')
    assert.equal(head.headers['x-user-id'], 'bob')
    client.send('hello')
    const [echo] = await once(client, 'message')
    assert.equal(String(echo), 'hello')
    client.close()
    await once(client, 'close')
    assert.equal(await refusal(target, [], { origin: APP }), 401)
  })

  test('opens with a token among its subprotocols, of which the upstream chooses', async () => {
    const { client, head } = await connect('/socket/chat', [
      'chat',
      `bearer.${secretToken({ sub: 'cleo' })}`,
      'v2',
    ])
    assert.equal(head.headers['sec-websocket-protocol'], 'chat, v2')
    assert.equal(head.headers['x-user-id'], 'cleo')
    assert.equal(client.protocol, 'chat')
    client.close()
    await once(client, 'close')
  })

  test('opens with a token as its only subprotocol, and is told of it, or browsers would give up', async () => {
    const entry = `bearer.${secretToken()}`
    const { client, head } = await connect('/socket/chat', [entry])
    assert.equal(head.headers['sec-websocket-protocol'], undefined)
    assert.equal(client.protocol, entry)
    client.close()
    await once(client, 'close')
  })

  test('is refused with a bad token, with none, and with more than one', async () => {
    const bad = `bearer.${token(claims(), { secret: 'x'.repeat(32) })}`
    assert.equal(await refusal('/socket/chat', [bad]), 401)
    assert.equal(await refusal('/socket/chat', ['chat']), 401)
    const entry = `bearer.${secretToken()}`
    const ticket = await issue()
    assert.equal(await refusal('/socket/chat', [entry], { headers: bearer(secretToken()) }), 400)
    assert.equal(await refusal(`/socket/chat?ticket=${ticket}`, [entry]), 400)
    assert.equal(await refusal(`/socket/chat?ticket=${ticket}`, [], { headers: bearer(secretToken()) }), 400)
  })
})

test('no ticket and no token came to an upstream or into the log', async () => {
  await send(`${gateway.url}/the-last-one`)
  await gateway.logged(({ path }) => path === '/the-last-one')
  const seen = upstream.bytes() + JSON.stringify(sockets.heads) + JSON.stringify(gateway.log)
  assert.ok(secrets.length > 20 && gateway.log.length > 50)
  for (const secret of secrets) {
    assert.ok(!seen.includes(secret), secret)
    // Nor what a token says, under another signature or in pieces
    assert.ok(!seen.includes(secret.split('.').at(-1)!), secret)
  }
})

interface SocketHead {
  readonly url: string
  readonly headers: Record<string, string | string[] | undefined>
}

interface SocketServer {
  readonly url: string
  readonly heads: SocketHead[]
  close(): Promise<void>
}

/** Echoes, and chooses `chat` where it is offered. */
async function socketServer(): Promise<SocketServer> {
  const http = createServer()
  const heads: SocketHead[] = []
  const server = new WebSocketServer({
    server: http,
    handleProtocols: offered => (offered.has('chat') ? 'chat' : false),
  })
  server.on('connection', (socket, { url, headers }) => {
    heads.push({ url: url!, headers })
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    heads,
    async close() {
      for (const socket of server.clients) socket.terminate()
      http.close()
      await once(http, 'close')
    },
  }
}

interface ConnectOptions {
  readonly origin?: string
  readonly headers?: Record<string, string>
}

function open(target: string, protocols: string[], options: ConnectOptions): WebSocket {
  return new WebSocket(`${gateway.url.replace('http', 'ws')}${target}`, protocols, options)
}

async function connect(
  target: string,
  protocols: string[],
  options: ConnectOptions = {},
): Promise<{ client: WebSocket; head: SocketHead }> {
  const client = open(target, protocols, options)
  await once(client, 'open')
  return { client, head: sockets.heads.at(-1)! }
}

/** The status with which a WebSocket is refused. */
async function refusal(target: string, protocols: string[], options: ConnectOptions = {}): Promise<number> {
  const client = open(target, protocols, options)
  client.on('error', () => {})
  const [, response] = await once(client, 'unexpected-response')
  client.terminate()
  return response.statusCode
}
