/** A wire between a client and a server that can be cut: both sides see a reset, as when a network goes away. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

export interface Relay {
  readonly port: number
  /** Bytes that went from clients to the server. */
  readonly sent: () => number
  /** Lets so many bytes more through to the server, then holds the rest back and says so. */
  holdAfter(bytes: number): Promise<void>
  /** Cuts every connection; later ones pass without a limit. */
  cut(): void
  close(): Promise<void>
}

export async function relayTo(port: number): Promise<Relay> {
  const pairs = new Set<[Socket, Socket]>()
  let sent = 0
  let limit = Number.POSITIVE_INFINITY
  let onHeld: () => void = () => {}
  const server = net.createServer(client => {
    const upstream = net.connect(port, '127.0.0.1')
    const pair: [Socket, Socket] = [client, upstream]
    pairs.add(pair)
    client.on('data', chunk => {
      sent += chunk.length
      if (!upstream.write(chunk)) client.pause()
      if (sent < limit) return
      client.pause()
      onHeld()
    })
    upstream.on('drain', () => sent < limit && client.resume())
    upstream.on('data', chunk => {
      client.write(chunk)
    })
    for (const [from, to] of [pair, pair.toReversed() as [Socket, Socket]]) {
      from.on('error', () => {})
      from.on('end', () => to.end())
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    limit = Number.POSITIVE_INFINITY
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    sent: () => sent,
    holdAfter(bytes) {
      limit = sent + bytes
      return new Promise(resolve => {
        onHeld = resolve
      })
    },
    cut,
    async close() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
