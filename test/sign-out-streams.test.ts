/** Who signs out through the gateway loses what is still open, at once; and nobody else does. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { bearer, open, send } from './support/client.ts'
import { type GatewayProcess, startGateway } from './support/gateway.ts'
import { claims, token } from './support/token.ts'

/** Auth service and query service in one: signs out, streams, and speaks WebSocket. */
const upstream = http.createServer((request, response) => {
  if (request.url!.includes('/logout')) {
    request.resume()
    return response.writeHead(204).end()
  }
  if (request.url!.endsWith('/slow')) {
    response.writeHead(200, { 'content-type': 'text/plain' })
    response.write('begun ')
    return finishing.push(() => response.end('and finished'))
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return response.write('data: hello\n\n')
})
const finishing: (() => void)[] = []
const sockets = new WebSocketServer({ server: upstream })
let gateway: GatewayProcess

before(async () => {
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  gateway = await startGateway({
    env: { GATEWAY_QUERY_SERVICE_URL: url, GATEWAY_AUTH_SERVICE_URL: url, GATEWAY_AUTH_STRIP_PREFIX: 'true' },
  })
})
after(async () => {
  await gateway.stop('SIGKILL')
  sockets.close()
  upstream.close()
  upstream.closeAllConnections()
})

interface Opened {
  readonly closed: Promise<[code: number, reason: string]>
  readonly socket: WebSocket
}

async function socketOf(jwt: string): Promise<Opened> {
  const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/api/v1/query/live`, {
    headers: bearer(jwt),
  })
  await once(socket, 'open')
  const closed = once(socket, 'close').then(([code, reason]): [number, string] => [code, String(reason)])
  return { socket, closed }
}

/** Resolves when the event stream has ended, with all of it. */
async function eventsOf(jwt: string): Promise<{ text: Promise<string> }> {
  const { request, answered } = open(`${gateway.url}/api/v1/query/events`, {
    headers: { accept: 'text/event-stream', ...bearer(jwt) },
    within: 25_000,
  })
  request.end()
  const response = await answered
  const first = once(response, 'data') as Promise<[Buffer]>
  const text = (async () => {
    let all = String((await first)[0])
    for await (const chunk of response) all += String(chunk)
    return all
  })()
  await first
  return { text }
}

async function signOut(jwt: string, scope = ''): Promise<void> {
  const { status } = await send(`${gateway.url}/api/v1/auth/v1/logout${scope}`, {
    method: 'POST',
    headers: bearer(jwt),
  })
  assert.equal(status, 204)
}

describe('a sign-out', { timeout: 30_000 }, () => {
  test('of one session closes its sockets and event streams, and none of another session', async () => {
    const user = { sub: 'ana' }
    const mine = token(claims({ ...user, session_id: 'here' }))
    const elsewhere = token(claims({ ...user, session_id: 'there' }))
    // Several, so that with more than one worker some are in another thread than the sign-out
    const leaving = await Promise.all(Array.from({ length: 6 }, () => socketOf(mine)))
    const streams = await Promise.all([eventsOf(mine), eventsOf(mine)])
    const staying = await socketOf(elsewhere)
    await signOut(mine, '?scope=local')
    for (const { closed } of leaving) assert.deepEqual(await closed, [4401, 'signed out'])
    for (const { text } of streams) assert.equal(await text, 'data: hello\n\n')
    assert.equal(staying.socket.readyState, WebSocket.OPEN)
    staying.socket.terminate()
  })

  test('of a user closes all that were open before it', async () => {
    const issued = { iat: Math.floor(Date.now() / 1000) - 10, sub: 'bob' }
    const all = await Promise.all(
      ['one', 'two', 'three'].map(session => socketOf(token(claims({ ...issued, session_id: session })))),
    )
    const stranger = await socketOf(token(claims({ sub: 'carla', session_id: 'other' })))
    await signOut(token(claims({ ...issued, session_id: 'one' })))
    for (const { closed } of all) assert.deepEqual(await closed, [4401, 'signed out'])
    assert.equal(stranger.socket.readyState, WebSocket.OPEN)
    stranger.socket.terminate()
  })

  test('lets a request finish that is already running', async () => {
    const jwt = token(claims({ sub: 'dora', session_id: 'running' }))
    const { request, answered } = open(`${gateway.url}/api/v1/query/slow`, { headers: bearer(jwt) })
    request.end()
    const response = await answered
    const witness = await socketOf(jwt)
    await signOut(jwt, '?scope=local')
    await witness.closed
    finishing.pop()!()
    let text = ''
    for await (const chunk of response) text += String(chunk)
    assert.equal(text, 'begun and finished')
  })

  test('that a stranger sends with a forged token closes nothing', async () => {
    const mine = { sub: 'eve', session_id: 'kept' }
    const { socket } = await socketOf(token(claims(mine)))
    await signOut(token(claims(mine), { secret: 'x'.repeat(40) }))
    const witness = await socketOf(token(claims({ sub: 'fay', session_id: 'gone' })))
    await signOut(token(claims({ sub: 'fay', session_id: 'gone' })), '?scope=local')
    await witness.closed
    assert.equal(socket.readyState, WebSocket.OPEN)
    socket.terminate()
  })
})
