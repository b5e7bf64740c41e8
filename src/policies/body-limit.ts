import { GatewayError } from '../errors.ts'
import type { Policy } from '../exchange.ts'

/** Refuses bodies over `bytes`: announced ones before a byte of them is read, others as soon as they grow past it. */
export function bodyLimit(bytes: number): Policy {
  return function bodyLimit(exchange, next) {
    if (exchange.body === null) return next(exchange)
    if (typeof exchange.framing === 'number' && exchange.framing > bytes)
      throw new GatewayError('body_too_large')
    exchange.body.limit(bytes)
    return next(exchange)
  }
}
