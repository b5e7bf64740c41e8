/** The last bytes of a WebSocket: whole for whoever takes them, however slowly; not waited for without an end. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startConfigured } from './support/configured.ts'
import type { GatewayProcess } from './support/gateway.ts'
import { type RawEnd, type RawUpstream, rawPair, rawUpstream } from './support/raw-websocket.ts'
import { token } from './support/token.ts'
import { until } from './support/until.ts'
import { BINARY, closeFrame, frame, framesOf } from './support/websocket-frames.ts'

const AUTHORIZATION = { Authorization: `Bearer ${token()}` }

/** Silence, and a reader that takes nothing, in seconds. Senders must not fall silent because the machine is busy. */
const IDLE_TIMEOUT = 3
const SEND_TIMEOUT = 10

let gateway: GatewayProcess
let upstream: RawUpstream

before(async () => {
  upstream = await rawUpstream()
  gateway = await startConfigured({
    server: { sendTimeout: SEND_TIMEOUT, drainTimeout: 25 },
    routes: [{ path: '/live/*', upstream: upstream.url, websocket: { idleTimeout: IDLE_TIMEOUT } }],
  })
})
after(async () => {
  await gateway?.stop('SIGKILL')
  await upstream?.close()
})

const openFiles = (): number => readdirSync(`/proc/${gateway.child.pid}/fd`).length

/** Sends so much, then goodbye; not all at once, so that the kernel makes as much room as it can. */
async function sendAll({ socket }: RawEnd, size: number): Promise<void> {
  const bytes = frame(BINARY, Buffer.alloc(size, 7))
  for (let at = 0; at < bytes.length; at += 30_000) {
    if (!socket.write(bytes.subarray(at, at + 30_000))) await once(socket, 'drain')
    else await delay(1)
  }
  socket.write(closeFrame(1000, 'done'))
  socket.end()
}

/** Sizes around what the kernel holds for one connection, so that of some the last part waits in the gateway. */
const SIZES = Array.from({ length: 48 }, (_, i) => 4_150_000 + i * 8_000)

describe('the last bytes', { timeout: 120_000 }, () => {
  test('arrive whole, though their sender has ended and their reader pauses for longer than silence may last', async () => {
    const pairs = await Promise.all(
      SIZES.map(async size => {
        const pair = await rawPair(gateway, upstream, `/live/slow/${size}`, AUTHORIZATION)
        const { client, server } = pair
        client.socket.pause()
        await sendAll(server, size)
        await delay((IDLE_TIMEOUT + 2) * 1_000)
        client.socket.resume()
        assert.equal(await client.ended(), 'fin')
        const { frames, rest } = framesOf(client.bytes())
        assert.deepEqual([frames.map(({ payload }) => payload.length), rest.length], [[size, 6], 0])
        return pair
      }),
    )
    for (const { client, server } of pairs) for (const { socket } of [client, server]) socket.destroy()
  })

  test('do not keep a connection open whose reader takes nothing, nor the gateway from stopping', async () => {
    await until('all of the test before is gone', () => openFiles() < 100)
    const before = openFiles()
    const pairs = await Promise.all(
      SIZES.map(async size => {
        const pair = await rawPair(gateway, upstream, `/live/deaf/${size}`, AUTHORIZATION)
        const { client, server } = pair
        client.socket.pause()
        await sendAll(server, size)
        client.send(closeFrame(1000, '', { masked: true }))
        client.socket.end()
        return pair
      }),
    )
    await Promise.all(SIZES.map(size => gateway.logged(({ path }) => path === `/live/deaf/${size}`)))
    await until('every connection is let go of', () => openFiles() <= before, 25_000)
    const lines = gateway.log.filter(({ path }) => String(path).startsWith('/live/deaf/'))
    assert.equal(lines.length, SIZES.length)
    const started = performance.now()
    assert.equal(await gateway.stop(), 0)
    assert.ok(performance.now() - started < 10_000)
    for (const { client, server } of pairs) for (const { socket } of [client, server]) socket.destroy()
  })
})
