/** What the edge knows of one client connection, kept on its socket: who is there, and whose turn it is. */

import type { Socket } from 'node:net'
import type { Client } from '../exchange.ts'
import type { RequestHeaders } from '../wire/request-headers.ts'
import type { Answer } from './answer.ts'
import {
  directClient,
  isTrusted,
  plainAddress,
  proxiedClient,
  type TrustedProxies,
} from './client-address.ts'

const STATE = Symbol('client connection')

interface GatewaySocket extends Socket {
  [STATE]?: ClientConnection
}

/** Requests that may wait behind the one being answered, and the size of their heads in characters. */
const MAX_PIPELINED = 64
const MAX_PIPELINED_SIZE = 131_072

export class ClientConnection {
  readonly peer: string
  /** The answer under way, or null between requests. */
  current: Answer | null = null
  readonly #socket: Socket
  /** Whether the peer's word on the client's address counts. */
  readonly #trusted: TrustedProxies | null
  #direct: Client | null = null
  #directHost = ''
  readonly #waiting: (() => void)[] = []
  #waitingSize = 0
  #closing = false
  #bytesReadAtRest = 0

  constructor(socket: Socket, trusted: TrustedProxies) {
    this.#socket = socket
    this.peer = plainAddress(socket.remoteAddress)
    this.#trusted = isTrusted(trusted, this.peer) ? trusted : null
  }

  /** The client of one request. For a peer that is not trusted it is the same for all with one Host. */
  client(headers: RequestHeaders, host: string): Client {
    if (this.#trusted !== null) return proxiedClient(this.peer, 'http', host, headers, this.#trusted)
    if (this.#direct === null || this.#directHost !== host) {
      this.#direct = directClient(this.peer, 'http', host)
      this.#directHost = host
    }
    return this.#direct
  }

  /**
   * Does the work for the next request when its turn comes. `node:http` hands over pipelined requests all at once;
   * served so, one connection could hold any number of upstream connections, and requests with effects would
   * overtake each other (RFC 9112 §9.3.2).
   * @param lines what is kept meanwhile
   */
  serve(work: () => void, lines: readonly string[] = []): void {
    if (this.#closing) return
    if (this.current === null && this.#waiting.length === 0) return work()
    const size = lines.reduce((sum, line) => sum + line.length, 0)
    this.#waitingSize += size
    if (this.#waiting.length >= MAX_PIPELINED || this.#waitingSize > MAX_PIPELINED_SIZE) {
      this.#socket.destroy()
      return
    }
    this.#waiting.push(() => {
      this.#waitingSize -= size
      work()
    })
  }

  /** The current answer has ended. */
  ended(): void {
    this.current = null
    this.#bytesReadAtRest = this.#socket.bytesRead
    if (!this.#closing) this.#waiting.shift()?.()
  }

  /** This connection ends: whatever arrives, or waits, behind the current request is not acted upon (RFC 9112 §9.6). */
  close(): void {
    this.#closing = true
    this.#waiting.length = 0
  }

  /** Nothing is owed in either direction. */
  get idle(): boolean {
    return (
      this.current === null &&
      this.#waiting.length === 0 &&
      this.#socket.writableLength === 0 &&
      this.#socket.bytesRead === this.#bytesReadAtRest
    )
  }
}

export function openConnection(socket: Socket, trusted: TrustedProxies): ClientConnection {
  const connection = new ClientConnection(socket, trusted)
  ;(socket as GatewaySocket)[STATE] = connection
  return connection
}

export function connectionOf(socket: Socket): ClientConnection | undefined {
  return (socket as GatewaySocket)[STATE]
}
