/** Many frames and many sockets, to upstreams with and without TLS. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { authority, needsOpenssl } from './support/certificates.ts'
import { type ConfigDirectory, configDirectory } from './support/config.ts'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { claims, expiringSoon, token } from './support/token.ts'
import { until } from './support/until.ts'
import { connect, echo, pair, type SocketService, socketService } from './support/websocket.ts'

const noOpenssl = await needsOpenssl()

for (const secure of [false, true]) {
  describe(`an upstream ${secure ? 'over' : 'without'} TLS`, { skip: secure && noOpenssl }, () => {
    let gateway: GatewayProcess
    let service: SocketService
    let directory: ConfigDirectory

    before(async () => {
      directory = configDirectory()
      const ca = secure ? await authority(directory.path, 'ours') : null
      service = await socketService({
        ...(ca === null ? {} : { tls: await ca.issue('IP:127.0.0.1') }),
        perMessageDeflate: true,
        onSocket: accepted => accepted.request.url?.includes('/echo') && echo(accepted),
      })
      const upstream = { url: service.url, ...(ca === null ? {} : { ca: ca.file }) }
      gateway = await startConfigured({
        identity: { leeway: 0 },
        routes: [
          { path: '/live/*', upstream },
          { path: '/closing/*', upstream, websocket: { maxFrameSize: 100_000 } },
        ],
      })
    })
    after(async () => {
      await gateway?.stop('SIGKILL')
      await service?.close()
      directory?.remove()
    })

    const url = (path: string): string => gateway.url + path

    test('gets 10,000 small frames in order, and so does the client', async () => {
      const { client, server } = await pair(url('/live/many'), service, { perMessageDeflate: false })
      const count = 10_000
      for (let number = 0; number < count; number++) {
        client.socket.send(`up ${number}`)
        server.socket.send(`down ${number}`)
      }
      for (const [peer, direction] of [
        [server, 'up'],
        [client, 'down'],
      ] as const) {
        const messages = await peer.received(count)
        const wrong = messages.findIndex(({ data }, index) => data.toString() !== `${direction} ${index}`)
        assert.equal(wrong, -1)
      }
      client.socket.close()
    })

    test('gets messages of 1 MB, and sends them', async () => {
      const client = await connect(url('/live/echo'))
      const sent = Array.from({ length: 10 }, () => randomBytes(1_048_576))
      for (const message of sent) client.socket.send(message)
      const back = await client.received(10)
      assert.ok(back.every(({ data }, index) => data.equals(sent[index]!)))
      client.socket.close(1000)
      assert.equal((await client.closed()).code, 1000)
    })

    test('is shared by 200 sockets at once, each of which hears only its own', async () => {
      const connections = service.connections()
      const clients = await Promise.all(
        Array.from({ length: 200 }, (_, number) =>
          connect(url('/live/echo/crowd'), { token: token(claims({ sub: `user-${number}` })) }),
        ),
      )
      assert.equal(service.connections() - connections, 200)
      for (let round = 0; round < 5; round++) {
        clients.forEach(({ socket }, number) => {
          socket.send(`${number} in round ${round}`)
        })
      }
      await Promise.all(
        clients.map(async (client, number) => {
          const texts = (await client.received(5)).map(({ data }) => data.toString())
          assert.deepEqual(
            texts,
            [0, 1, 2, 3, 4].map(round => `${number} in round ${round}`),
          )
        }),
      )
      for (const { socket } of clients) socket.close(1000)
      for (const client of clients) assert.equal((await client.closed()).code, 1000)
      const lines = await until('all have their line', () => {
        const found = gateway.log.filter(({ path }) => path === '/live/echo/crowd')
        return found.length === 200 && found
      })
      assert.equal(new Set(lines.map(({ user_id }) => user_id)).size, 200)
      assert.equal(new Set(lines.map(({ request_id }) => request_id)).size, 200)
    })

    test('sees an abrupt end, and so does the client', async () => {
      const first = await pair(url('/live/abrupt'), service)
      first.client.socket.terminate()
      assert.equal((await first.server.closed(3_000)).code, 1006)
      const second = await pair(url('/live/abrupt'), service)
      second.server.socket.terminate()
      assert.equal((await second.client.closed(3_000)).code, 1006)
    })

    test('hears the goodbye of the gateway: a frame too large, a token that ends', async () => {
      const large = await pair(url('/closing/large'), service, { perMessageDeflate: false })
      large.server.socket.send(Buffer.alloc(100_001), { compress: false })
      assert.equal((await large.client.closed()).code, 1009)
      assert.equal((await large.server.closed()).code, 1009)
      const signed = token(claims({ exp: expiringSoon() }))
      const expiring = await pair(url('/live/expiring'), service, { token: signed })
      assert.equal((await expiring.client.closed()).code, 4401)
      assert.equal((await expiring.server.closed()).code, 4401)
    })
  })
}
