/** What lasts, over reloads: untouched where its route is the same, ended in good order where it is not. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type http from 'node:http'
import { type TestContext, test } from 'node:test'
import { bearer, open } from './support/client.ts'
import { SECRET } from './support/gateway.ts'
import { type ReloadingGateway, startReloading } from './support/reloading.ts'
import { service } from './support/service.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'
import { echo, pair, type SocketService, socketService } from './support/websocket.ts'

const OTHER_SECRET = 'another-secret-of-at-least-thirty-two-bytes'

interface Parts {
  readonly sockets: SocketService
  readonly events: { readonly url: string; readonly streams: Map<string, http.ServerResponse> }
  gateway: ReloadingGateway
}

/** Routes to a WebSocket service and to one of event streams. */
function configOf({ sockets, events }: Omit<Parts, 'gateway'>, more: object = {}, tight: object = {}) {
  return {
    server: { drainTimeout: 2 },
    identity: { secret: SECRET },
    cors: { originPatterns: ['https://app-*.example.com'] },
    upstreams: { sockets: { url: sockets.url }, events: { url: events.url } },
    routes: [
      { path: '/sockets/open/*', auth: 'none', upstream: 'sockets' },
      { path: '/sockets/guarded/*', upstream: 'sockets', ...tight },
      { path: '/events/open/*', auth: 'none', upstream: 'events' },
      { path: '/events/guarded/*', upstream: 'events', ...tight },
    ],
    ...more,
  }
}

async function streaming(context: TestContext): Promise<Parts> {
  const streams = new Map<string, http.ServerResponse>()
  const upstream = await service((request, response) => {
    streams.set(request.url!, response)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: first\n\n')
  })
  const sockets = await socketService({ onSocket: echo })
  const events = { url: upstream.url, streams }
  const gateway = await startReloading(configOf({ sockets, events }), {
    env: { GATEWAY_JWT_SECRET: undefined },
  })
  context.after(async () => {
    await gateway.stop()
    await upstream.close()
    await sockets.close()
  })
  return { sockets, events, gateway }
}

let ids = 0

async function eventStream({ gateway, events }: Parts, kind: 'open' | 'guarded') {
  const path = `/events/${kind}/${++ids}`
  const headers = kind === 'guarded' ? bearer(token()) : {}
  const { request, answered } = open(gateway.url + path, { headers, within: 60_000 })
  request.end()
  const response = await answered
  let text = ''
  response.setEncoding('utf8').on('data', chunk => {
    text += chunk
  })
  const ended = once(response, 'close').then(() => (response.complete ? 'whole' : 'broken'))
  await until('the first event is here', () => text.includes('first'))
  return { send: (event: string) => events.streams.get(path)!.write(event), text: () => text, ended }
}

test('those of routes that stay go on, byte for byte, over many reloads', async context => {
  const parts = await streaming(context)
  const { gateway, sockets } = parts
  const pairs = await Promise.all(
    ['open', 'guarded', 'open', 'guarded'].map(kind => pair(`${gateway.url}/sockets/${kind}/x`, sockets)),
  )
  const streams = await Promise.all([eventStream(parts, 'open'), eventStream(parts, 'guarded')])
  const talk = async (round: number): Promise<void> => {
    for (const { client } of pairs) {
      client.socket.send(`text ${round}`)
      client.socket.send(Buffer.alloc(70_000, round))
    }
    for (const stream of streams) stream.send(`data: round ${round}\n\n`)
  }
  const rounds = 20
  await talk(0)
  for (let round = 1; round <= rounds; round++) {
    const reloaded = gateway.reload(configOf(parts, { name: `Round ${round}`, routes: routesOf(round) }))
    await talk(round)
    const { event, changed, removed } = await reloaded
    assert.deepEqual([event, changed], ['Configuration reloaded', []])
    assert.deepEqual(removed, round === 1 ? [] : [`/round/${round - 1}`])
  }
  await talk(rounds + 1)
  const count = 2 * (rounds + 2)
  for (const { client } of pairs) {
    const messages = await client.received(count)
    for (const [index, { data, binary }] of messages.entries()) {
      const round = Math.floor(index / 2)
      const sent = binary ? Buffer.alloc(70_000, round) : Buffer.from(`text ${round}`)
      assert.ok(data.equals(sent), `message ${index}`)
    }
  }
  const expected = Array.from({ length: rounds + 2 }, (_, round) => `data: round ${round}\n\n`).join('')
  for (const stream of streams)
    await until('all events are here', () => stream.text() === `data: first\n\n${expected}`)
  assert.ok(!gateway.log.some(({ ended }) => ended !== undefined), 'nothing was ended')
  for (const { client } of pairs) client.socket.close()

  function routesOf(round: number): object[] {
    const { routes } = configOf(parts)
    // In another place of the list, beside one that comes and goes
    return [{ path: `/round/${round}`, auth: 'none', respond: {} }, ...routes.toReversed()]
  }
})

test('those of a route that changes end in good order, and the others go on', async context => {
  const parts = await streaming(context)
  const { gateway, sockets } = parts
  const guarded = await Promise.all(
    Array.from({ length: 6 }, () => pair(`${gateway.url}/sockets/guarded/x`, sockets)),
  )
  const free = await pair(`${gateway.url}/sockets/open/x`, sockets)
  const [tightened, open] = [await eventStream(parts, 'guarded'), await eventStream(parts, 'open')]
  const tight = { require: { roles: ['admin'] } }
  const { changed } = await gateway.reload(configOf(parts, {}, tight))
  assert.deepEqual(changed, ['/sockets/guarded/*', '/events/guarded/*'])
  for (const { client, server } of guarded) {
    assert.deepEqual(await client.closed(), { code: 1001, reason: 'route changed' })
    assert.equal((await server.closed()).code, 1001)
  }
  assert.equal(await tightened.ended, 'whole')
  const lines = await until('all are logged', () => {
    const found = gateway.log.filter(({ ended }) => ended === 'route_changed')
    return found.length === guarded.length + 1 && found
  })
  assert.ok(lines.every(({ route }) => String(route).includes('guarded')))
  free.client.socket.send('still here')
  await free.client.received(1)
  open.send('data: still here\n\n')
  await until('it is here', () => open.text().includes('still here'))

  // Without their routes these end as well
  const { removed } = await gateway.reload(configOf(parts, { routes: [] }))
  assert.equal((removed as string[]).length, 4)
  assert.deepEqual(await free.client.closed(), { code: 1001, reason: 'route changed' })
  assert.equal(await open.ended, 'whole')
})

test('another secret ends what was let in with the old one, and nothing else', async context => {
  const parts = await streaming(context)
  const { gateway, sockets } = parts
  const guarded = await pair(`${gateway.url}/sockets/guarded/x`, sockets)
  const free = await pair(`${gateway.url}/sockets/open/x`, sockets)
  await gateway.reload(configOf(parts, { identity: { secret: OTHER_SECRET } }))
  assert.equal((await guarded.client.closed()).code, 1001)
  free.client.socket.send('still here')
  await free.client.received(1)
  const renewed = await pair(`${gateway.url}/sockets/guarded/x`, sockets, {
    token: token(undefined, { secret: OTHER_SECRET }),
  })
  renewed.client.socket.close()
  free.client.socket.close()
})

test('a handshake that began before a reload is held against what holds at its end', async context => {
  const handshakes: (() => void)[] = []
  const sockets = await socketService({
    verifyClient: (_info, done) => void handshakes.push(() => done(true)),
  })
  context.after(() => sockets.close())
  const config = (tight: object) => ({
    server: { drainTimeout: 1 },
    routes: [{ path: '/*', auth: 'none', upstream: sockets.url, ...tight }],
  })
  const gateway = await startReloading(config({}))
  context.after(() => gateway.stop())
  const opened = pair(`${gateway.url}/x`, sockets)
  await until('it is under way', () => handshakes.length === 1)
  for (const name of ['another', 'and another']) await gateway.reload(config({ name }))
  handshakes[0]!()
  const { client } = await opened
  assert.deepEqual(await client.closed(), { code: 1001, reason: 'route changed' })
})
