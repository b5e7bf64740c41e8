/** The front door: accepts connections, and answers what is no request at all. */

import { createServer, type Socket } from 'node:net'
import { type ErrorCode, GatewayError } from '../errors.ts'
import { listening, type Ports } from '../listening.ts'
import { problemBody } from '../problem.ts'
import { encodeResponseHead } from '../wire/response-head.ts'
import type { TrustedProxies } from './client-address.ts'
import { ClientConnection, type ConnectionHost, type OpenConnection } from './client-connection.ts'
import { Http2Connection, type Http2Host, type Http2Limits } from './http2-connection.ts'
import { createHttp2Receive } from './http2-receive.ts'
import { UnknownConnection } from './preface.ts'
import { createReceive, type Receiver } from './receive.ts'
import { newRequestId } from './request-id.ts'
import { ACCEPTED } from './sockets.ts'
import { listenTls, type TlsListener, type TlsOptions } from './tls.ts'

/** What may be replaced while the door is open. Connections that stand have it too, but for the limits of HTTP/2. */
export interface DoorSettings {
  readonly http2: Http2Limits & {
    /** HTTP/2 with prior knowledge on the plain port. */
    readonly cleartext: boolean
  }
  /** Seconds. */
  readonly headerTimeout: number
  readonly keepAliveTimeout: number
  readonly trusted: TrustedProxies
}

export interface ListenOptions extends DoorSettings {
  readonly host: string
  readonly port: number
  /** Other threads listen on the same port; the kernel spreads connections over all of them. */
  readonly reusePort?: boolean
  readonly tls: TlsOptions | null
  /** Told of requests that never became an exchange. */
  readonly onRefused: (refusal: RefusedRequest) => void
  /** Told of connections that were ended for what they did. */
  readonly onFlooded: (peer: string, what: string) => void
}

export interface RefusedRequest {
  readonly id: string
  readonly peer: string
  readonly code: ErrorCode
  /** The parser's word for it. */
  readonly reason: string
}

export interface FrontDoor {
  readonly ports: Ports
  /** Open connections. */
  readonly connections: number
  /** From the next request on, also of connections that stand, another receiver takes it. */
  replace(receiver: Receiver, settings: DoorSettings): void
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
  const connections = new Set<OpenConnection>()
  const allClosed = Promise.withResolvers<void>()
  let closing = false
  let { cleartext } = options.http2
  const host: ConnectionHost = {
    ...receptionOf(receiver, options),
    refuse(connection, code, reason) {
      const id = newRequestId()
      options.onRefused({ id, peer: connection.peer, code, reason })
      connection.endWith(refusalText(code, id))
    },
    onReplaced(connection, successor) {
      connections.delete(connection)
      connections.add(successor)
    },
    onClosed(connection) {
      connections.delete(connection)
      if (closing && connections.size === 0) allClosed.resolve()
    },
  }
  const http2Host: Http2Host = {
    ...http2ReceptionOf(receiver, options),
    onFlooded: (connection, what) => options.onFlooded(connection.peer, what),
    onClosed: host.onClosed,
  }
  const takeHttp1 = (socket: Socket): ClientConnection => {
    const connection = new ClientConnection(socket, host)
    connections.add(connection)
    return connection
  }
  const takeHttp2 = (socket: Socket): void => {
    connections.add(new Http2Connection(socket, http2Host))
  }
  const takeUnknown = (socket: Socket): void => {
    const unknown = new UnknownConnection(socket, {
      headerTimeout: host.headerTimeout,
      onHttp2() {
        takeHttp2(socket)
        connections.delete(unknown)
      },
      onHttp1(bytes) {
        takeHttp1(socket).begin(bytes)
        connections.delete(unknown)
      },
      onClosed: host.onClosed,
    })
    connections.add(unknown)
  }
  // Reading begins when the connection has said where its bytes should land.
  const server = createServer({ ...ACCEPTED, pauseOnConnect: true })
  server.on('connection', socket => void (cleartext ? takeUnknown(socket) : takeHttp1(socket)))
  const plain = await listening(server, options.port, options.host, options.reusePort)
  let secure: TlsListener | null = null
  try {
    if (options.tls !== null) {
      const { host, reusePort = false, headerTimeout: handshakeTimeout } = options
      secure = await listenTls(options.tls, { host, reusePort, handshakeTimeout }, socket => {
        if (closing) socket.destroy()
        else if (socket.alpnProtocol === 'h2') takeHttp2(socket)
        else takeHttp1(socket)
      })
    }
  } catch (error) {
    server.close()
    throw error
  }
  return {
    ports: { plain, tls: secure?.port ?? null },
    get connections() {
      return connections.size
    },
    replace(receiver, settings) {
      cleartext = settings.http2.cleartext
      Object.assign(host, receptionOf(receiver, settings))
      Object.assign(http2Host, http2ReceptionOf(receiver, settings))
    },
    close(grace) {
      closing = true
      server.close()
      secure?.close()
      for (const connection of connections) connection.retire?.()
      if (connections.size === 0) allClosed.resolve()
      const idleTimer = setTimeout(() => {
        for (const connection of connections)
          if (connection.idle && connection.retire === undefined) connection.destroy()
      }, grace * 1000)
      return allClosed.promise.finally(() => {
        clearTimeout(idleTimer)
        secure?.destroy()
      })
    },
    destroy() {
      for (const connection of connections) connection.destroy()
    },
  }
}

function receptionOf(receiver: Receiver, { headerTimeout, keepAliveTimeout, trusted }: DoorSettings) {
  const receive = createReceive(receiver, trusted, keepAliveTimeout)
  return { headerTimeout, keepAliveTimeout, pace: receiver.pace, receive }
}

function http2ReceptionOf(
  receiver: Receiver,
  { http2, headerTimeout, keepAliveTimeout, trusted }: DoorSettings,
) {
  const receive = createHttp2Receive(receiver, trusted)
  return { ...http2, headerTimeout, keepAliveTimeout, pace: receiver.pace, receive }
}

function refusalText(code: ErrorCode, id: string): string {
  const error = new GatewayError(code)
  const body = problemBody(error, id)
  const head = encodeResponseHead({
    status: error.status,
    fields: ['Content-Type', 'application/problem+json'],
    framing: Buffer.byteLength(body),
    ownLines: `Connection: close\r\nX-Request-ID: ${id}\r\nX-Process-Time: 0.000000\r\n`,
  })
  return head + body
}
