/** A wire to a server that can be slow, be cut in the middle of an answer, or answer nonsense. */

import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

export interface FaultyWire {
  readonly port: number
  /** Milliseconds that each byte needs longer, in each direction. */
  delay: number
  /** What clients hear instead of the server; null: the server. */
  instead: string | null
  /** Lets some bytes of the next answer through, then cuts the connection. Resolves when it has. */
  cutNextAnswer(bytes: number): Promise<void>
  close(): Promise<void>
}

export async function faultyWire(port: number): Promise<FaultyWire> {
  const sockets = new Set<Socket>()
  let cutAfter: number | null = null
  let onCut: () => void = () => {}
  const server = net.createServer(client => {
    const upstream = net.connect(port, '127.0.0.1')
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    client.on('data', chunk => {
      if (wire.instead !== null) client.write(wire.instead)
      else void later(() => upstream.write(chunk))
    })
    upstream.on('data', chunk => {
      if (cutAfter === null) return void later(() => client.write(chunk))
      client.write((chunk as Buffer).subarray(0, cutAfter))
      cutAfter = null
      client.destroySoon()
      onCut()
    })
    const end = (): void => {
      client.destroy()
      upstream.destroy()
      sockets.delete(client)
      sockets.delete(upstream)
    }
    client.on('close', end)
    upstream.on('close', end)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const wire: FaultyWire = {
    port: (server.address() as AddressInfo).port,
    delay: 0,
    instead: null,
    cutNextAnswer(bytes) {
      cutAfter = bytes
      return new Promise(resolve => {
        onCut = resolve
      })
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return wire

  async function later(pass: () => void): Promise<void> {
    if (wire.delay > 0) await delay(wire.delay)
    pass()
  }
}
