/** Ways around a limit that look like something else: handshakes, tickets, and what comes of them. */

import assert from 'node:assert/strict'
import type http from 'node:http'
import { after, before, describe, test } from 'node:test'
import { bearer, open, send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type HttpUpstream, httpUpstream } from './support/http-upstream.ts'
import { claims, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, type Peer, refusal, type SocketService, socketService } from './support/websocket.ts'

const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

let gateway: GatewayProcess
let upstream: HttpUpstream
let sockets: SocketService
/** Answers that have not been given yet. */
const held: http.ServerResponse[] = []

before(async () => {
  upstream = await httpUpstream(({ target, response }) => {
    if (target.endsWith('/hold')) held.push(response)
    else response.end('done')
  })
  sockets = await socketService()
  gateway = await startConfigured({
    limits: {
      defaultPlan: 'free',
      plans: {
        free: {
          rules: [
            { name: 'parallel', concurrent: 2 },
            { name: 'sockets', sockets: 3 },
          ],
        },
      },
    },
    routes: [
      { path: '/api/*', upstream: upstream.url },
      { path: '/socket/*', upstream: sockets.url },
    ],
  })
})
after(async () => {
  for (const response of held) response.end()
  await gateway?.stop()
  await sockets?.close()
  await upstream?.close()
})

const company = (id: string) =>
  bearer(token(claims({ sub: `user-of-${id}`, app_metadata: { company_id: id } })))

describe('a handshake', () => {
  test('is one of the requests at a time until it is answered', async () => {
    const headers = company('disguised')
    const running = [0, 1].map(() =>
      open(`${gateway.url}/api/hold`, { headers: { ...headers, ...HANDSHAKE } }),
    )
    for (const { request } of running) request.end()
    await until('both are at the upstream', () => held.length === 2)
    assert.equal((await send(`${gateway.url}/api/x`, { headers: { ...headers, ...HANDSHAKE } })).status, 429)
    assert.equal((await send(`${gateway.url}/api/x`, { headers })).status, 429)
    for (const response of held) response.end()
    for (const { answered } of running) (await answered).resume()
    await until(
      'a slot is free',
      async () => (await send(`${gateway.url}/api/x`, { headers })).status === 200,
    )
  })

  test('that becomes a WebSocket is a request no more', async () => {
    const headers = company('sockets')
    const peers: Peer[] = []
    for (let i = 0; i < 3; i++) peers.push(await connect(`${gateway.url}/socket/x`, { headers, token: null }))
    assert.equal((await send(`${gateway.url}/api/x`, { headers })).status, 200)
    for (const { socket } of peers) socket.terminate()
    const answers = await Promise.all([0, 1].map(() => send(`${gateway.url}/api/x`, { headers })))
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    )
  })
})

test('WebSockets are so many at a time, until one of them has ended in whatever way', async () => {
  const headers = company('talkative')
  const url = `${gateway.url}/socket/x`
  const open = () => connect(url, { headers, token: null })
  const [one, other] = [await open(), await open(), await open()]
  const refused = await refusal(url, { headers, token: null })
  assert.equal(refused.status, 429)
  assert.deepEqual(JSON.parse(refused.body)['violated-policies'], ['sockets'])
  assert.match(String(refused.headers.ratelimit), /^"sockets";r=0/)
  // Neither its other requests nor another company pay for that
  assert.equal((await send(`${gateway.url}/api/x`, { headers })).status, 200)
  const foreign = await connect(url, { headers: company('quiet'), token: null })
  foreign.socket.terminate()
  for (const end of [() => one.socket.terminate(), () => other.socket.close()]) {
    end()
    await until('there is room for one more', async () => (await open()) !== null)
    assert.equal((await refusal(url, { headers, token: null })).status, 429)
  }
})

test('a plan that many name and nobody has made does not fill the log, nor the memory of limits', async () => {
  const ask = async (n: number): Promise<void> => {
    const metadata = { company_id: `typo-${n}`, plan: `made-up-${n}` }
    const headers = bearer(token(claims({ sub: `user-${n}`, app_metadata: metadata })))
    assert.equal((await send(`${gateway.url}/api/x`, { headers })).status, 200)
  }
  for (let n = 0; n < 240; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => ask(n + i)))
  await gateway.logged(() => gateway.log.filter(({ status_code }) => status_code === 200).length >= 240)
  const lines = gateway.log.filter(({ plan }) => String(plan).startsWith('made-up-'))
  assert.equal(lines.length, 100)
})

describe('POST /api/v1/tickets', () => {
  test('is held against the limits per address, for it has tokens verified as well', async context => {
    const guarded = await startConfigured({
      limits: { clients: [{ name: 'client', limit: 3, window: 3_600 }] },
      routes: [{ path: '/live', upstream: upstream.url, tickets: true }],
    })
    context.after(() => guarded.stop())
    const ask = () => send(`${guarded.url}/api/v1/tickets`, { method: 'POST', headers: bearer('a.b.c') })
    for (let i = 0; i < 3; i++) assert.equal((await ask()).status, 401)
    const refused = await ask()
    assert.equal(refused.status, 429)
    assert.deepEqual(refused.json()['violated-policies'], ['client'])
    assert.match(String(refused.headers.ratelimit), /^"client";r=0;t=\d+$/)
  })
  test('is held against the plan of its company, or one could use up the tickets of all', async context => {
    const guarded = await startConfigured({
      limits: {
        defaultPlan: 'free',
        plans: { free: { rules: [{ name: 'burst', limit: 2, window: 3_600 }] } },
      },
      routes: [{ path: '/live', upstream: upstream.url, tickets: true }],
    })
    context.after(() => guarded.stop())
    const ask = (id: string) =>
      send(`${guarded.url}/api/v1/tickets`, { method: 'POST', headers: company(id) })
    for (const status of [201, 201, 429]) assert.equal((await ask('eager')).status, status)
    assert.equal((await ask('other')).status, 201)
  })
})
