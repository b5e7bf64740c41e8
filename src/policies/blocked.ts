/** Whom an operator keeps out, whatever it brings: 403 with the operator's reason, until that is taken back or over. */

import { GatewayError } from '../errors.ts'
import type { Policy } from '../exchange.ts'
import { problemReply } from '../problem.ts'
import type { Block } from '../store/block.ts'
import type { AskedBlocks } from '../store/blocks.ts'

/** Stands in front of whatever costs something: the address is known before anything was asked. */
export function blockedAddresses(blocks: AskedBlocks): Policy {
  return function blockedAddresses(exchange, next) {
    const block = blocks.againstAddress(exchange.client.ip)
    return block === null ? next(exchange) : problemReply(exchange, blockedError(block))
  }
}

export function blockedError({ kind, reason }: Block): GatewayError {
  return new GatewayError(`${kind}_blocked`, { reason })
}
