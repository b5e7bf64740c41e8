/** WebSockets of clients that come over TLS: the same ends and bounds as without. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { authority, needsOpenssl } from './support/certificates.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { claims, expiringSoon, token } from './support/token.ts'
import { until } from './support/until.ts'
import { type Accepted, type Peer, pair, type SocketService, socketService } from './support/websocket.ts'

const MEGABYTE = 1_048_576
const SEND_TIMEOUT = 2

const skip = await needsOpenssl()

describe('a WebSocket over TLS', { skip }, () => {
  let directory: ConfigDirectory
  let service: SocketService
  let gateway: GatewayProcess
  let files: { readonly cert: string; readonly key: string }

  before(async () => {
    directory = configDirectory()
    const { cert, key } = await (await authority(directory.path, 'ours')).issue('IP:127.0.0.1')
    files = { cert: directory.write('cert.pem', cert), key: directory.write('key.pem', key) }
    service = await socketService()
    gateway = await start()
  })
  after(async () => {
    await gateway?.stop('SIGKILL')
    await service?.close()
    directory?.remove()
  })

  const start = (): Promise<GatewayProcess> =>
    startConfigured({
      server: { tls: { ...files, port: 0 }, sendTimeout: SEND_TIMEOUT, drainTimeout: 2 },
      identity: { leeway: 0 },
      routes: [
        { path: '/live/*', upstream: service.url },
        { path: '/small/*', upstream: service.url, websocket: { maxFrameSize: 1_000 } },
        { path: '/idle/*', upstream: service.url, websocket: { idleTimeout: 1 } },
      ],
    })

  const open = (
    path: string,
    over: object = {},
    through = gateway,
  ): Promise<{ client: Peer; server: Accepted }> =>
    pair(through.tlsUrl! + path, service, { rejectUnauthorized: false, perMessageDeflate: false, ...over })

  test('passes messages of 1 MB both ways at once', async () => {
    const { client, server } = await open('/live/large')
    const [up, down] = [randomBytes(MEGABYTE), randomBytes(MEGABYTE)]
    for (let count = 0; count < 10; count++) {
      client.socket.send(up)
      server.socket.send(down)
    }
    for (const { data } of await server.received(10)) assert.ok(data.equals(up))
    for (const { data } of await client.received(10)) assert.ok(data.equals(down))
    client.socket.close(1000)
    assert.equal((await server.closed()).code, 1000)
  })

  for (const slow of ['client', 'server'] as const) {
    test(`is as fast as a slow ${slow} reads, and nothing is lost`, async () => {
      const ends = await open(`/live/slow-${slow}`)
      const reader = ends[slow]
      const writer = slow === 'client' ? ends.server : ends.client
      reader.socket.pause()
      for (let count = 0; count < 24; count++) writer.socket.send(Buffer.alloc(MEGABYTE, count))
      await delay(SEND_TIMEOUT * 500)
      reader.socket.resume()
      const messages = await reader.received(24)
      assert.ok(messages.every(({ data }, count) => data.equals(Buffer.alloc(MEGABYTE, count))))
      ends.client.socket.close()
    })
  }

  test('is cut when its client never reads, in bounded memory', async () => {
    const resident = (): number =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${gateway.child.pid}/status`, 'utf8'))?.[1]) * 1024
    const { client, server } = await open('/live/never-reads')
    client.socket.pause()
    const before = resident()
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, resident() - before)
    }, 20)
    for (let count = 0; count < 100; count++) server.socket.send(Buffer.alloc(MEGABYTE))
    const line = await gateway.logged(({ path }) => path === '/live/never-reads')
    clearInterval(timer)
    assert.deepEqual([line.ended, line.outcome], ['slow_client', 'client_gone'])
    assert.ok(most < 40 * MEGABYTE, `grew by ${most}`)
    assert.equal((await server.closed()).code, 1006)
    client.socket.terminate()
  })

  test('ends with its token, on both sides', async () => {
    const { client, server } = await open('/live/expiring', { token: token(claims({ exp: expiringSoon() })) })
    for (const peer of [client, server]) {
      const { code, reason } = await peer.closed()
      assert.deepEqual([code, reason], [4401, 'token expired'])
    }
  })

  test('ends with a reason for silence, and for a frame that is too large', async () => {
    const silent = await open('/idle/x')
    assert.equal((await silent.client.closed()).code, 1001)
    const large = await open('/small/x')
    large.client.socket.send(Buffer.alloc(1_001))
    assert.equal((await large.client.closed()).code, 1009)
    assert.equal((await large.server.closed()).code, 1009)
  })

  for (const leaving of ['client', 'server'] as const) {
    test(`of a ${leaving} that is gone without a word is soon over for the other`, async () => {
      const ends = await open(`/live/gone-${leaving}`)
      ends[leaving].socket.terminate()
      assert.equal((await ends[leaving === 'client' ? 'server' : 'client'].closed()).code, 1006)
      await gateway.logged(({ path }) => path === `/live/gone-${leaving}`)
    })
  }

  test('is told when the gateway stops, which ends with 0', async () => {
    const other = await start()
    const all = await Promise.all(Array.from({ length: 10 }, () => open('/live/stopping', {}, other)))
    const stopped = other.stop()
    for (const { client, server } of all) {
      assert.equal((await client.closed()).code, 1001)
      assert.equal((await server.closed()).code, 1001)
    }
    assert.equal(await stopped, 0)
    await until(
      'all have their line',
      () => other.log.filter(({ ended }) => ended === 'draining').length === 10,
    )
  })
})
