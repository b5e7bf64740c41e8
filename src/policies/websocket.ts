/** Is this a WebSocket that may begin? Its handshake is judged before anybody is asked who wants it. */

import { GatewayError } from '../errors.ts'
import type { Exchange, Policy } from '../exchange.ts'
import { handshakeFault, WEBSOCKET_VERSION } from '../wire/websocket-handshake.ts'

export interface WebSocketOptions {
  /** The route takes any. */
  readonly allowed: boolean
  readonly isAllowedOrigin: (origin: string) => boolean
}

export function websocket({ allowed, isAllowedOrigin }: WebSocketOptions): Policy {
  return function websocket(exchange, next) {
    if (!exchange.upgrade) return next(exchange)
    if (!allowed) throw new GatewayError('websocket_refused')
    const fault = handshakeFault(exchange.method, exchange.headers)
    if (fault === 'version') {
      throw new GatewayError('websocket_version', { headers: ['Sec-WebSocket-Version', WEBSOCKET_VERSION] })
    }
    if (fault !== null) throw new GatewayError('websocket_handshake', { detail: fault })
    if (exchange.framing !== 'none' && exchange.framing !== 0) {
      throw new GatewayError('websocket_handshake', { detail: 'A WebSocket handshake has no body.' })
    }
    // Browsers ask no preflight for a WebSocket, and let any page open one: its origin is judged here or nowhere.
    const origins = exchange.headers.getAll('origin')
    if (origins.some(origin => !isAllowedOrigin(origin) && !isOwn(origin, exchange))) {
      throw new GatewayError('cors_origin')
    }
    return next(exchange)
  }
}

/** A page that came through this very gateway. */
function isOwn(origin: string, { client, authority }: Exchange): boolean {
  return origin === `${client.protocol}://${authority.toLowerCase()}`
}
