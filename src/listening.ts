/** How a server of this process comes to listen, and under which URL it is then reached. */

import type { AddressInfo, Server } from 'node:net'

/**
 * @param reusePort other threads listen there too
 * @returns the port, which the system chose where 0 was asked for
 * @throws what keeps the server from listening: EADDRINUSE, EACCES, EADDRNOTAVAIL
 */
export async function listening(
  server: Server,
  port: number,
  host: string,
  reusePort = false,
): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, reusePort }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return (server.address() as AddressInfo).port
}

/** The ports of the front door. */
export interface Ports {
  readonly plain: number
  /** null: no certificate is configured. */
  readonly tls: number | null
}

/** A URL to connect to, for an address to listen on. */
export function urlOf(host: string, port: number, scheme: 'http' | 'https' = 'http'): string {
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host
  return `${scheme}://${name}:${port}`
}
