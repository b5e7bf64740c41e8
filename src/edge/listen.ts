/** The front door: accepts connections, and answers what is no request at all. */

import { createServer, type Socket } from 'node:net'
import { ERRORS, type ErrorCode } from '../errors.ts'
import { listening } from '../listening.ts'
import { problemBody } from '../problem.ts'
import { encodeResponseHead } from '../wire/response-head.ts'
import type { TrustedProxies } from './client-address.ts'
import { ClientConnection, type ConnectionHost } from './client-connection.ts'
import { createReceive, type Receiver } from './receive.ts'
import { newRequestId } from './request-id.ts'

export interface ListenOptions {
  readonly host: string
  readonly port: number
  /** Other threads listen on the same port; the kernel spreads connections over all of them. */
  readonly reusePort?: boolean
  /** Seconds. */
  readonly headerTimeout: number
  readonly keepAliveTimeout: number
  readonly trusted: TrustedProxies
  /** Told of requests that never became an exchange. */
  readonly onRefused: (refusal: RefusedRequest) => void
}

export interface RefusedRequest {
  readonly id: string
  readonly peer: string
  readonly code: ErrorCode
  /** The parser's word for it. */
  readonly reason: string
}

export interface FrontDoor {
  readonly port: number
  /** Open connections. */
  readonly connections: number
  /**
   * Stops accepting connections. Those that are open may finish what they began, and idle ones get `grace` seconds,
   * so that a request already on its way does not meet a closed door.
   * @returns when every connection has ended
   */
  close(grace: number): Promise<void>
  /** Ends whatever is left. */
  destroy(): void
}

export async function listen(receiver: Receiver, options: ListenOptions): Promise<FrontDoor> {
  const connections = new Set<ClientConnection>()
  const allClosed = Promise.withResolvers<void>()
  let closing = false
  const host: ConnectionHost = {
    headerTimeout: options.headerTimeout,
    keepAliveTimeout: options.keepAliveTimeout,
    pace: receiver.pace,
    receive: createReceive(receiver, options.trusted, options.keepAliveTimeout),
    refuse(connection, code, reason) {
      const id = newRequestId()
      options.onRefused({ id, peer: connection.peer, code, reason })
      connection.endWith(refusalText(code, id))
    },
    onClosed(connection) {
      connections.delete(connection)
      if (closing && connections.size === 0) allClosed.resolve()
    },
  }
  const server = createServer({
    allowHalfOpen: true,
    // Reading begins when the connection has said where its bytes should land.
    pauseOnConnect: true,
    noDelay: true,
    // Finds out about peers that vanished without a word, behind streams that may be silent for long.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })
  server.on('connection', (socket: Socket) => {
    connections.add(new ClientConnection(socket, host))
  })
  const port = await listening(server, options.port, options.host, options.reusePort)
  return {
    port,
    get connections() {
      return connections.size
    },
    close(grace) {
      closing = true
      server.close()
      if (connections.size === 0) return Promise.resolve()
      const idleTimer = setTimeout(() => {
        for (const connection of connections) if (connection.idle) connection.socket.destroy()
      }, grace * 1000)
      return allClosed.promise.finally(() => clearTimeout(idleTimer))
    },
    destroy() {
      for (const connection of connections) connection.socket.destroy()
    },
  }
}

function refusalText(code: ErrorCode, id: string): string {
  const { status, title, detail } = ERRORS[code]
  const body = problemBody(code, status, title, detail, id)
  const head = encodeResponseHead({
    status,
    fields: ['Content-Type', 'application/problem+json'],
    framing: Buffer.byteLength(body),
    ownLines: `Connection: close\r\nX-Request-ID: ${id}\r\nX-Process-Time: 0.000000\r\n`,
  })
  return head + body
}
