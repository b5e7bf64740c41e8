import assert from 'node:assert/strict'
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { GatewayError } from '../errors.ts'
import type { AttemptListener, Connection } from './connection.ts'
import type { Endpoint } from './endpoint.ts'
import { Pool } from './pool.ts'

const sockets = new Set<Socket>()
const server = net.createServer(socket => {
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  socket.on('data', bytes => {
    const close = bytes.includes('GET /close ')
    socket.write(`HTTP/1.1 204 \r\n${close ? 'Connection: close\r\n' : ''}\r\n`)
  })
})

let port = 0
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  port = (server.address() as AddressInfo).port
})
after(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

let pools: Pool[] = []
beforeEach(() => {
  for (const pool of pools) pool.close()
  pools = []
})

function poolOf(over: Partial<Endpoint> = {}): Pool {
  const pool = new Pool({
    name: 'test',
    protocol: 'http/1.1',
    host: '127.0.0.1',
    port,
    authority: `127.0.0.1:${port}`,
    basePath: '',
    tls: null,
    preserveHost: false,
    maxConnections: 10,
    maxIdleConnections: 10,
    idleTimeout: 30,
    timeouts: { connect: 5, firstByte: 5, idle: 5 },
    ...over,
  })
  pools.push(pool)
  return pool
}

function acquire(pool: Pool, seconds = 5, fresh = false): Promise<Connection> {
  return new Promise((resolve, reject) => {
    pool.acquire({ onConnection: resolve, onNoConnection: reject }, seconds, fresh)
  })
}

/** Sends one request and waits for the end of its answer; the connection is released then. */
async function use(connection: Connection, path = '/'): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const attempt: AttemptListener = {
    timeouts: { connect: 5, firstByte: 5, idle: 5 },
    onInformational() {},
    onHead() {},
    onData() {},
    onEnd: () => resolve(),
    afterRead() {},
    onDrain() {},
    onRefused() {},
    onUpgraded() {},
    onFailure: reject,
  }
  connection.send('GET', `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`, null, attempt, 'none')
  await promise
  // `onEnd` comes just before the release, in the same turn.
  await Promise.resolve()
}

describe('a pool', { timeout: 15_000 }, () => {
  test('gives an idle connection again, the one used last first', async () => {
    const pool = poolOf()
    const [first, second] = [await acquire(pool), await acquire(pool)]
    assert.notEqual(first, second)
    await use(first)
    await use(second)
    assert.equal(await acquire(pool), second)
    assert.equal(await acquire(pool), first)
    assert.equal(pool.size, 2)
  })

  test('opens no more than its bound, and serves those who wait in order of arrival', async () => {
    const pool = poolOf({ maxConnections: 2 })
    const [first, second] = [await acquire(pool), await acquire(pool)]
    const served: string[] = []
    const waiting = ['a', 'b', 'c'].map(name =>
      acquire(pool).then(connection => {
        served.push(name)
        return use(connection)
      }),
    )
    assert.equal(pool.size, 2)
    await Promise.all([use(first), use(second), ...waiting])
    assert.deepEqual(served, ['a', 'b', 'c'])
    assert.equal(pool.size, 2)
  })

  test('opens another for one who waits when a connection closes', async () => {
    const pool = poolOf({ maxConnections: 1 })
    const first = await acquire(pool)
    const waiting = acquire(pool)
    await use(first, '/close')
    const second = await waiting
    assert.notEqual(second, first)
    await use(second)
    assert.equal(pool.size, 1)
  })

  test('tells one who waited too long, and gives it nothing afterwards', async () => {
    const pool = poolOf({ maxConnections: 1 })
    const held = await acquire(pool)
    await assert.rejects(acquire(pool, 0.05), (error: GatewayError) => error.code === 'upstream_busy')
    const next = acquire(pool)
    await use(held)
    assert.equal(await next, held)
  })

  test('passes over one who gave up waiting', async () => {
    const pool = poolOf({ maxConnections: 1 })
    const held = await acquire(pool)
    const served = (): never => assert.fail('served after it gave up')
    const giveUp = pool.acquire({ onConnection: served, onNoConnection: served }, 5)
    assert.ok(giveUp !== null)
    const next = acquire(pool)
    giveUp()
    await use(held)
    assert.equal(await next, held)
  })

  test('gives one who asks for it a connection that was never used', async () => {
    const pool = poolOf()
    const used = await acquire(pool)
    await use(used)
    const fresh = await acquire(pool, 5, true)
    assert.notEqual(fresh, used)
    assert.equal(pool.size, 2)
  })

  test('gives one who asks for it a connection that was never used, at its bound too', async () => {
    const pool = poolOf({ maxConnections: 1 })
    const used = await acquire(pool)
    await use(used)
    assert.notEqual(await acquire(pool, 5, true), used)
    assert.equal(pool.size, 1)
  })

  test('gives one who asks for it a connection that was never used, after a wait too', async () => {
    const pool = poolOf({ maxConnections: 1 })
    const used = await acquire(pool)
    const waiting = acquire(pool, 5, true)
    await use(used)
    assert.ok((await waiting) !== used, 'got the connection that was just used')
    assert.equal(pool.size, 1)
  })

  test('keeps no more idle connections than it may', async () => {
    const pool = poolOf({ maxIdleConnections: 1 })
    const connections = [await acquire(pool), await acquire(pool), await acquire(pool)]
    for (const connection of connections) await use(connection)
    assert.equal(pool.size, 1)
    assert.equal(await acquire(pool), connections[0])
  })

  test('drops an idle connection that the upstream closes or speaks on unasked', async () => {
    for (const disturb of [
      (socket: Socket) => socket.end(),
      (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n'),
    ]) {
      for (const socket of sockets) socket.destroy()
      const pool = poolOf()
      const connection = await acquire(pool)
      await use(connection)
      const socket = [...sockets].at(-1)!
      const closed = once(socket, 'close')
      disturb(socket)
      await closed
      assert.equal(pool.size, 0)
      assert.ok((await acquire(pool)) !== connection)
    }
  })

  test('drops idle connections after their time', async () => {
    const pool = poolOf({ idleTimeout: 0.05 })
    await use(await acquire(pool))
    const [socket] = [...sockets].slice(-1)
    if (socket !== undefined && !socket.destroyed) await once(socket, 'close')
    assert.equal(pool.size, 0)
  })

  test('closes idle connections at once when it closes, and busy ones at their end', async () => {
    const pool = poolOf()
    const [idle, busy] = [await acquire(pool), await acquire(pool)]
    await use(idle)
    pool.close()
    assert.equal(pool.size, 1)
    await use(busy)
    assert.equal(pool.size, 0)
  })
})
