/** The front door: `node:http` with the limits that strangers get, and the answers for what it cannot parse. */

import { randomUUIDv7 } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import net, { type Socket } from 'node:net'
import { ERRORS, type ErrorCode, GatewayError } from '../errors.ts'
import { listening } from '../listening.ts'
import { problemBody } from '../problem.ts'
import type { TrustedProxies } from './client-address.ts'
import { type ClientConnection, connectionOf, openConnection } from './client-connection.ts'
import { FORWARDABLE_METHODS, type Receiver, receive } from './receive.ts'

export interface ListenOptions {
  readonly host: string
  readonly port: number
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
  /**
   * Stops accepting connections. Those that are open may finish what they began, and idle ones get `grace` seconds,
   * so that a request already on its way does not meet a closed door.
   * @returns when every connection has ended
   */
  close(grace: number): Promise<void>
  /** Ends whatever is left. */
  destroy(): void
}

const MAX_HEADER_BYTES = 32_768

export async function listen(receiver: Receiver, options: ListenOptions): Promise<FrontDoor> {
  const server = createServer({
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: options.headerTimeout * 1000,
    // No limit on the time of a whole request: uploads take as long as bytes flow (see request-body.ts).
    requestTimeout: 0,
    keepAliveTimeout: options.keepAliveTimeout * 1000,
    connectionsCheckingInterval: 500,
    // A missing Host gets a problem answer like everything else.
    requireHostHeader: false,
    noDelay: true,
    // Finds out about peers that vanished without a word, behind streams that may be silent for long.
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
  })
  // 0 means all of them: the default of 2,000 would drop the rest in silence.
  server.maxHeadersCount = 0
  const take =
    (expectation: 'none' | 'continue' | 'unknown') =>
    (request: IncomingMessage, response: ServerResponse) => {
      const connection = connectionOf(request.socket)
      connection?.serve(
        () => receive(receiver, connection, request, response, expectation),
        request.rawHeaders,
      )
    }
  const connections = new Map<Socket, ClientConnection>()
  server.on('connection', (socket: Socket) => {
    const connection = openConnection(socket, options.trusted)
    connections.set(socket, connection)
    // `node:http` takes its own listener away on CONNECT; what fails afterwards must not fail the process.
    socket.on('error', () => socket.destroy())
    socket.on('close', () => {
      connections.delete(socket)
      connection.close()
      connection.current?.clientGone()
    })
  })
  server.on('request', take('none'))
  server.on('checkContinue', take('continue'))
  server.on('checkExpectation', take('unknown'))
  server.on('connect', (_request, socket: Socket) => {
    connectionOf(socket)?.serve(() => refuse(socket, 'method_not_allowed', 'CONNECT', options))
  })
  server.on('clientError', (error: ParserError, socket: Socket) => {
    onClientError(error, socket, options)
  })
  const port = await listening(server, options.port, options.host)
  return frontDoor(server, port, connections)
}

function frontDoor(
  server: Server,
  port: number,
  connections: ReadonlyMap<Socket, ClientConnection>,
): FrontDoor {
  return {
    port,
    close(grace) {
      const idleTimer = setTimeout(() => {
        for (const [socket, connection] of connections) if (connection.idle) socket.destroy()
      }, grace * 1000)
      return new Promise(resolve => {
        // Not `server.close()`, which also cuts idle connections at once.
        net.Server.prototype.close.call(server, () => {
          clearTimeout(idleTimer)
          resolve()
        })
      })
    },
    destroy() {
      server.closeAllConnections()
    },
  }
}

type ParserError = NodeJS.ErrnoException & { rawPacket?: Buffer }

/** The parser's errors that are not simply a malformed request. */
const PARSER_ERRORS: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  HPE_HEADER_OVERFLOW: 'headers_too_large',
}

function onClientError(error: ParserError, socket: Socket, options: ListenOptions): void {
  const connection = connectionOf(socket)
  const reason = error.code ?? error.message
  const code = isTargetOverflow(error) ? 'target_too_long' : (PARSER_ERRORS[reason] ?? 'malformed_request')
  const nobodyAsked = reason === 'ERR_HTTP_REQUEST_TIMEOUT' && socket.bytesRead === 0
  // A browser's spare connection that was never needed gets no answer either.
  if (
    reason === 'ECONNRESET' ||
    reason === 'EPIPE' ||
    !socket.writable ||
    nobodyAsked ||
    connection === undefined
  ) {
    socket.destroy()
    return
  }
  const { current } = connection
  // Bytes behind a request that said it was the last one (RFC 9112 §9.6): its answer is owed, and nothing else.
  if (reason === 'HPE_CLOSED_CONNECTION' && current !== null) return current.closeAfterwards()
  if (current !== null && !current.requestComplete) {
    current.closeAfterwards()
    current.breakRequest(new GatewayError(code, { cause: error }))
  } else {
    // The fault is in what follows: the answers under way are still owed.
    connection.serve(() => refuse(socket, code, reason, options))
  }
}

/** The request line itself is what did not fit: no line has ended within the limit. */
function isTargetOverflow(error: ParserError): boolean {
  if (error.code !== 'HPE_HEADER_OVERFLOW' || error.rawPacket === undefined) return false
  const end = error.rawPacket.indexOf('\n')
  return (
    (end === -1 || end > MAX_HEADER_BYTES / 2) &&
    /^[A-Z]+ [^ ]*/.test(error.rawPacket.toString('latin1', 0, 64))
  )
}

/** Answers on the bare socket, for there is no request to answer. */
function refuse(socket: Socket, code: ErrorCode, reason: string, options: ListenOptions): void {
  if (!socket.writable) return
  connectionOf(socket)?.close()
  const { status, title, detail } = ERRORS[code]
  const id = randomUUIDv7()
  const body = problemBody(code, status, title, detail, id)
  options.onRefused({ id, peer: connectionOf(socket)?.peer ?? '', code, reason })
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n` +
      (code === 'method_not_allowed' ? `Allow: ${FORWARDABLE_METHODS}\r\n` : '') +
      `Date: ${new Date().toUTCString()}\r\nConnection: close\r\nX-Request-ID: ${id}\r\nX-Process-Time: 0.000000\r\n\r\n${body}`,
  )
  // What is still arriving is dropped for a moment, so that the answer is not lost to a reset.
  socket.resume()
  setTimeout(() => socket.destroy(), 500).unref()
}
