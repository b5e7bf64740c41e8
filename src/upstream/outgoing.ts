/** What an exchange asks of its upstream, in no protocol yet: the same facts whichever one that speaks. */

import type { Exchange } from '../exchange.ts'
import { fieldLine, type PassageRules, type RequestHead } from '../wire/request-head.ts'
import type { Endpoint } from './endpoint.ts'

export interface OutgoingOptions {
  /** What of the client's fields stays behind. */
  readonly rules: PassageRules
  /** The path for the upstream; null: the raw path as it came. */
  readonly rewrite: ((rawPath: string) => string) | null
  /** `X-Forwarded-Prefix` for the upstream, where a prefix was stripped. */
  readonly strippedPrefix: string | null
}

/** `X-Forwarded-Prefix` as a line, or ''. */
export function prefixLine({ strippedPrefix }: OutgoingOptions): string {
  return strippedPrefix ? fieldLine('X-Forwarded-Prefix', strippedPrefix) : ''
}

/** @param constantLines the gateway's own lines that are the same for every request of the route */
export function outgoing(
  exchange: Exchange,
  endpoint: Endpoint,
  { rules, rewrite }: OutgoingOptions,
  constantLines: string,
): RequestHead {
  const path = rewrite === null ? exchange.rawPath : rewrite(exchange.rawPath)
  return {
    method: exchange.method,
    target: endpoint.basePath + path + exchange.upstreamQuery,
    authority: (endpoint.preserveHost && exchange.authority) || endpoint.authority,
    headers: exchange.headers,
    rules,
    replaced: exchange.upstreamHeaders.names,
    ownLines:
      exchange.client.forwardedLines +
      constantLines +
      `X-Request-ID: ${exchange.id}\r\n` +
      exchange.upstreamHeaders.lines,
    framing: exchange.framing,
    expectContinue: exchange.expectContinue,
  }
}
