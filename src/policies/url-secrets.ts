/**
 * Tokens and tickets in a URL that went astray: where they are no credentials they are of no use to a service, and a
 * service writes URLs into its log.
 */

import type { Policy } from '../exchange.ts'
import type { AskedTickets } from '../store/tickets.ts'
import { takeParameters } from '../wire/query.ts'

const NAMES: ReadonlySet<string> = new Set(['access_token', 'ticket'])
/** What a query must have to have one of the names, however it is encoded. */
const SUSPECT = /t(?:icket|oken)|%/i
/** RFC 7515 §3.1 */
const TOKEN = /^[\w-]{8,}\.[\w-]{8,}\.[\w-]*$/

/** @param tickets null: none are issued */
export function urlSecrets(tickets: AskedTickets | null): Policy {
  return function urlSecrets(exchange, next) {
    if (exchange.upstreamQuery !== '' && SUSPECT.test(exchange.upstreamQuery))
      exchange.upstreamQuery = takeParameters(exchange.upstreamQuery, NAMES, isSecret).rest
    return next(exchange)
  }

  /** A service may have parameters of its own under these names. A live ticket is none of them, and used up now. */
  function isSecret(name: string, value: string): boolean {
    if (name === 'access_token') return TOKEN.test(value)
    return tickets?.discard(value, Date.now()) ?? false
  }
}
