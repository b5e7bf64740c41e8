/** A real HTTP service behind the gateway: `node:http`, on a free port, told what to do by each test. */

import { once } from 'node:events'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'

export interface Service {
  readonly url: string
  close(): Promise<void>
}

/** Over TLS when given a certificate and its key, PEM. */
export async function service(
  listener: http.RequestListener,
  tls?: { cert: string; key: string },
): Promise<Service> {
  const server = tls === undefined ? http.createServer(listener) : https.createServer(tls, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
