/** What the edge knows of one client connection, kept on its socket. */

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

export class ClientConnection {
  readonly peer: string
  /** Answers not yet ended, in the order of their requests. */
  readonly answers = new Set<Answer>()
  /** An answer said `Connection: close`: whatever arrives behind its request is not to be acted upon (RFC 9112 §9.6). */
  closing = false
  /** Whether the peer's word on the client's address counts. */
  readonly #trusted: TrustedProxies | null
  #direct: Client | null = null
  #directHost = ''

  constructor(socket: Socket, trusted: TrustedProxies) {
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
}

export function openConnection(socket: Socket, trusted: TrustedProxies): ClientConnection {
  const connection = new ClientConnection(socket, trusted)
  ;(socket as GatewaySocket)[STATE] = connection
  return connection
}

export function connectionOf(socket: Socket): ClientConnection | undefined {
  return (socket as GatewaySocket)[STATE]
}
