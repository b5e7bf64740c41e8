/** WebSockets through the gateway, as `ws` and Node's own client speak them: the same as without it. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { send } from './support/client.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { connect, echo, pair, type SocketService, socketService, tagged } from './support/websocket.ts'

const MEGABYTE = 1_048_576

let gateway: GatewayProcess
/** Sends back what it hears on /echo, leaves all else to the test; knows compression and two subprotocols. */
let service: SocketService
let uncompressed: SocketService

before(async () => {
  service = await socketService({
    perMessageDeflate: { threshold: 0 },
    handleProtocols: protocols => (protocols.has('chat.v2') ? 'chat.v2' : false),
    onSocket: accepted => accepted.request.url?.includes('/echo') && echo(accepted),
  })
  uncompressed = await socketService({ onSocket: echo })
  gateway = await startConfigured({
    routes: [
      { path: '/live/*', upstream: service.url },
      { path: '/open/*', auth: 'none', upstream: service.url },
      { path: '/uncompressed/*', upstream: uncompressed.url },
    ],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await Promise.all([service?.close(), uncompressed?.close()])
})

const url = (path: string): string => gateway.url + path

describe('messages', () => {
  test('of both kinds come back as they were sent, in order', async () => {
    const { client } = await pair(url('/live/echo'), service)
    const binary = randomBytes(1_000)
    client.socket.send('Grüße, 世界')
    client.socket.send(binary)
    client.socket.send('')
    client.socket.send(Buffer.alloc(0))
    const kinds = (await client.received(4)).map(({ data, binary }) => [data, binary])
    assert.deepEqual(kinds, [
      [Buffer.from('Grüße, 世界'), false],
      [binary, true],
      [Buffer.alloc(0), false],
      [Buffer.alloc(0), true],
    ])
    client.socket.close()
    assert.equal((await client.closed()).code, 1005)
  })

  for (const compressed of [false, true]) {
    test(`of 1 MB pass both ways, ${compressed ? '' : 'not '}compressed`, async () => {
      const { client, server } = await pair(url('/live/other'), service, { perMessageDeflate: compressed })
      const [up, down] = [randomBytes(MEGABYTE), randomBytes(MEGABYTE)]
      // Both at once, so that neither direction waits for the other
      for (let count = 0; count < 5; count++) {
        client.socket.send(up)
        server.socket.send(down)
      }
      for (const { data } of await server.received(5)) assert.ok(data.equals(up))
      for (const { data } of await client.received(5)) assert.ok(data.equals(down))
      client.socket.close()
    })
  }

  test('in fragments arrive whole, with pings between them', async () => {
    const { client, server } = await pair(url('/live/other'), service, { perMessageDeflate: false })
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.socket.send('one ', { fin: false })
      from.socket.ping('between')
      from.socket.send('two ', { fin: false })
      from.socket.send('three', { fin: true })
      assert.equal((await to.received(1))[0]?.data.toString(), 'one two three')
      assert.deepEqual(await to.heard('pings', 1), ['between'])
      assert.deepEqual(await from.heard('pongs', 1), ['between'])
    }
    client.socket.close()
  })

  test('sent at once from both sides do not mix', async () => {
    const { client, server } = await pair(url('/live/other'), service)
    const count = 500
    for (let number = 0; number < count; number++) {
      client.socket.send(`up ${number} ${'x'.repeat(number)}`)
      server.socket.send(`down ${number} ${'y'.repeat(number)}`)
    }
    const upward = await server.received(count)
    const downward = await client.received(count)
    for (let number = 0; number < count; number++) {
      assert.equal(upward[number]?.data.toString(), `up ${number} ${'x'.repeat(number)}`)
      assert.equal(downward[number]?.data.toString(), `down ${number} ${'y'.repeat(number)}`)
    }
    client.socket.close()
  })
})

describe('pings', () => {
  test('pass both ways, and only the other end answers them', async () => {
    const { client, server } = await pair(url('/live/other'), service)
    client.socket.ping('from the client')
    server.socket.ping('from the upstream')
    assert.deepEqual(await server.heard('pings', 1), ['from the client'])
    assert.deepEqual(await client.heard('pings', 1), ['from the upstream'])
    assert.deepEqual(await client.heard('pongs', 1), ['from the client'])
    assert.deepEqual(await server.heard('pongs', 1), ['from the upstream'])
    client.socket.close()
    await server.closed()
    assert.deepEqual(
      [client.pongs, server.pongs].map(pongs => pongs.length),
      [1, 1],
    )
    assert.deepEqual(
      [client.pings, server.pings].map(pings => pings.length),
      [1, 1],
    )
  })
})

describe('permessage-deflate', () => {
  test('is negotiated end to end, and what goes over the wire is small', async () => {
    const { client, server } = await pair(url('/live/echo/deflated'), service, { perMessageDeflate: true })
    assert.match(client.socket.extensions, /^permessage-deflate/)
    assert.match(server.socket.extensions, /^permessage-deflate/)
    client.socket.send(Buffer.alloc(MEGABYTE))
    assert.ok((await client.received(1))[0]?.data.equals(Buffer.alloc(MEGABYTE)))
    client.socket.close()
    const line = await gateway.logged(({ path }) => path === '/live/echo/deflated')
    for (const name of ['bytes_received', 'bytes_sent']) {
      assert.ok(Number(line[name]) > 100 && Number(line[name]) < 20_000, `${name} is ${line[name]}`)
    }
  })

  test('carries its parameters', async () => {
    const { client, server } = await pair(url('/live/other'), service, {
      perMessageDeflate: { serverNoContextTakeover: true, clientMaxWindowBits: 10 },
    })
    const offered = String(server.request.headers['sec-websocket-extensions'])
    assert.match(offered, /server_no_context_takeover/)
    assert.match(offered, /client_max_window_bits=10/)
    server.socket.send('a'.repeat(5_000))
    server.socket.send('a'.repeat(5_000))
    assert.equal((await client.received(2))[1]?.data.toString(), 'a'.repeat(5_000))
    client.socket.close()
  })

  for (const [who, path, perMessageDeflate] of [
    ['client', '/live/echo', false],
    ['upstream', '/uncompressed/echo', true],
  ] as const) {
    test(`is not used when the ${who} does not know it`, async () => {
      const client = await connect(url(path), { perMessageDeflate })
      assert.equal(client.socket.extensions, '')
      client.socket.send('plain')
      assert.equal((await client.received(1))[0]?.data.toString(), 'plain')
      client.socket.close()
    })
  }
})

describe('subprotocols', () => {
  test('are chosen by the upstream among those of the client', async () => {
    const { client, server } = await pair(url('/live/other'), service, { protocols: ['chat.v1', 'chat.v2'] })
    assert.equal(client.socket.protocol, 'chat.v2')
    const offered = String(server.request.headers['sec-websocket-protocol']).replaceAll(' ', '')
    assert.equal(offered, 'chat.v1,chat.v2')
    client.socket.close()
  })

  test('need not be chosen', async () => {
    const { client } = await pair(url('/live/other'), service)
    assert.equal(client.socket.protocol, '')
    client.socket.close()
  })
})

describe('closing', () => {
  const goodbyes = [
    [1000, ''],
    [1000, 'done'],
    [1001, 'going away'],
    [1011, 'unforeseen'],
    [3000, 'a library'],
    [4000, 'an application'],
    [4999, `${'ü'.repeat(61)}!`],
  ] as const

  for (const [code, reason] of goodbyes) {
    test(`with ${code} ${JSON.stringify(reason)} reaches the other side, from either`, async () => {
      const first = await pair(url('/live/other'), service)
      first.client.socket.close(code, reason)
      assert.deepEqual(await first.server.closed(), { code, reason })
      assert.equal((await first.client.closed()).code, code)
      const second = await pair(url('/live/other'), service)
      second.server.socket.close(code, reason)
      assert.deepEqual(await second.client.closed(), { code, reason })
      assert.equal((await second.server.closed()).code, code)
    })
  }

  test('without a code is 1005 on the other side, from either', async () => {
    const first = await pair(url('/live/other'), service)
    first.client.socket.close()
    assert.deepEqual(await first.server.closed(), { code: 1005, reason: '' })
    const second = await pair(url('/live/other'), service)
    second.server.socket.close()
    assert.deepEqual(await second.client.closed(), { code: 1005, reason: '' })
  })

  test('from both sides at once ends both', async () => {
    const { client, server } = await pair(url('/live/other'), service)
    client.socket.close(4001, 'client')
    server.socket.close(4002, 'server')
    const [own, others] = await Promise.all([client.closed(), server.closed()])
    // Each hears of the other's word, unless its own was answered first
    for (const { code } of [own, others]) assert.ok([4001, 4002].includes(code), `${code}`)
  })

  test('comes behind all that was sent before it', async () => {
    const { client, server } = await pair(url('/live/other'), service)
    for (let count = 0; count < 20; count++) server.socket.send(Buffer.alloc(200_000, count))
    server.socket.close(4321, 'last')
    const messages = await client.received(20)
    assert.ok(messages.every(({ data }, count) => data.equals(Buffer.alloc(200_000, count))))
    assert.deepEqual(await client.closed(), { code: 4321, reason: 'last' })
  })

  for (const side of ['client', 'upstream'] as const) {
    test(`an abrupt end of the ${side} is soon seen by the other`, async () => {
      const path = `/live/other/abrupt-${side}`
      const { client, server } = await pair(url(path), service)
      const [leaving, left] = side === 'client' ? [client, server] : [server, client]
      leaving.socket.terminate()
      assert.equal((await left.closed(3_000)).code, 1006)
      const line = await gateway.logged(record => record.path === path)
      assert.equal(line.status_code, 101)
      assert.equal(line.close_code, undefined)
    })
  }

  test('leaves no trace on the connections of others: a request behind it is answered', async () => {
    const { client, server } = await pair(url('/open/other'), service)
    client.socket.terminate()
    await server.closed()
    const answer = await send(url('/open/request'))
    assert.deepEqual([answer.status, answer.text], [200, 'plain /open/request'])
  })
})

describe("Node's own client", () => {
  /** The global one, with what comes to it. */
  const open = async (path: string, protocols: string[] = []) => {
    const target = tagged(url(path))
    const socket = new WebSocket(target.url.replace('http', 'ws'), protocols)
    socket.binaryType = 'arraybuffer'
    const [, server] = await Promise.all([once(socket, 'open'), service.accepted(target.tag)])
    return { socket, server }
  }

  test('gets its text and 1 MB of bytes back', async () => {
    const { socket } = await open('/open/echo', ['chat.v2'])
    assert.equal(socket.protocol, 'chat.v2')
    socket.send('text')
    assert.equal(((await once(socket, 'message')) as [MessageEvent])[0].data, 'text')
    const bytes = randomBytes(MEGABYTE)
    socket.send(bytes)
    const [{ data }] = (await once(socket, 'message')) as [MessageEvent]
    assert.ok(Buffer.from(data as ArrayBuffer).equals(bytes))
    socket.close(1000, 'done')
    const [{ code, wasClean }] = (await once(socket, 'close')) as [CloseEvent]
    assert.deepEqual([code, wasClean], [1000, true])
  })

  test('closes, and is closed, with code and reason', async () => {
    const first = await open('/open/other')
    first.socket.close(4000, 'enough')
    assert.deepEqual(await first.server.closed(), { code: 4000, reason: 'enough' })
    const second = await open('/open/other')
    const closed = once(second.socket, 'close') as Promise<[CloseEvent]>
    second.server.socket.close(4003, 'no more')
    const [{ code, reason }] = await closed
    assert.deepEqual([code, reason], [4003, 'no more'])
  })

  test('sees an abrupt end', async () => {
    const { socket, server } = await open('/open/other')
    const closed = once(socket, 'close') as Promise<[CloseEvent]>
    server.socket.terminate()
    const [{ code, wasClean }] = await closed
    assert.deepEqual([code, wasClean], [1006, false])
  })

  test('is refused where a token is required', async () => {
    const connections = service.connections()
    const socket = new WebSocket(url('/live/echo').replace('http', 'ws'))
    await once(socket, 'error')
    assert.equal(service.connections(), connections)
  })
})
