/** The listener with TLS: handshakes, certificates that are replaced while it serves, and what fails before either. */

import type { Socket } from 'node:net'
import { createServer, type SecureVersion, type TLSSocket } from 'node:tls'
import { type CertificateFiles, type CertificatePair, readCertificate } from '../certificate.ts'
import { listening } from '../listening.ts'
import { type CertificateEvents, watchCertificate } from './certificate-watch.ts'
import { ACCEPTED } from './sockets.ts'

export interface TlsOptions extends CertificateFiles {
  readonly port: number
  readonly minVersion: SecureVersion
  /** Seconds between two looks at the files. */
  readonly reload: number
  /** Shared by all threads, so that a client may resume its session with any of them. */
  readonly ticketKeys: Buffer
  readonly events: CertificateEvents & {
    /** So many handshakes have failed since this was last told, which is at most once a second. */
    onHandshakesFailed(count: number, last: Error): void
  }
}

export interface TlsListener {
  readonly port: number
  /** Stops accepting. Handshakes under way may end, those that do not are for `destroy`. */
  close(): void
  /** Ends handshakes under way. */
  destroy(): void
}

/** Time between two words on failed handshakes: scanners cause as many as they like. */
const TELL_MS = 1_000

/**
 * @param handshakeTimeout seconds
 * @param accept takes sockets whose handshake is done
 * @throws what keeps it from listening, or CertificateProblem
 */
export async function listenTls(
  options: TlsOptions,
  { host, reusePort, handshakeTimeout }: { host: string; reusePort: boolean; handshakeTimeout: number },
  accept: (socket: TLSSocket) => void,
): Promise<TlsListener> {
  const { minVersion, ticketKeys, events } = options
  const contextOf = ({ cert, key }: CertificatePair) => ({ cert, key, minVersion, ticketKeys })
  const server = createServer({
    ...ACCEPTED,
    ...contextOf(readCertificate(options)),
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: handshakeTimeout * 1000,
  })
  const greeting = new Map<string, Socket>()
  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket)
    greeting.set(peer, socket)
    socket.once('close', () => greeting.get(peer) === socket && greeting.delete(peer))
  })
  server.on('secureConnection', socket => {
    greeting.delete(peerOf(socket))
    accept(socket)
  })
  let failures = 0
  let toldAt = Number.NEGATIVE_INFINITY
  server.on('tlsClientError', (error, socket) => {
    socket.destroy()
    failures++
    const now = performance.now()
    if (now - toldAt < TELL_MS) return
    events.onHandshakesFailed(failures, error)
    failures = 0
    toldAt = now
  })
  const port = await listening(server, options.port, host, reusePort)
  const unwatch = watchCertificate(options, options.reload, {
    onChanged(pair) {
      // Connections that stand keep theirs
      server.setSecureContext(contextOf(pair))
      events.onChanged(pair)
    },
    onUnusable: problem => events.onUnusable(problem),
  })
  return {
    port,
    close() {
      unwatch()
      server.close()
    },
    destroy() {
      for (const socket of greeting.values()) socket.destroy()
    },
  }
}

/** The same for a socket and for the encrypted one on top of it. */
const peerOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress}:${remotePort}`
