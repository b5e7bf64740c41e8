/** How much may they? Holds a request against the rules of its company's plan, and says in its answer what is left. */

import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Exchange, Policy, Reply } from '../exchange.ts'
import type { RouteRules } from '../limits/plans.ts'
import type { Rule } from '../limits/rules.ts'
import { problemReply } from '../problem.ts'

export function rateLimit(rules: RouteRules): Policy {
  return function rateLimit(exchange, next) {
    const bound = rules.bind(exchange.identity, exchange.client)
    exchange.weight = bound.weight
    const gate = exchange.upgrade ? bound.handshakes : bound.requests
    return gate === null ? next(exchange) : gate.pass(exchange, next)
  }
}

/** How a route refuses: with `rate_limited`, or with what its clients understand. */
export function refusalWith(code: ErrorCode): (exchange: Exchange, rule: Rule, wait: number) => Reply {
  return (exchange, { name }, wait) =>
    problemReply(
      exchange,
      new GatewayError(code, {
        ...(code === 'rate_limited'
          ? { detail: `The limit "${name}" is used up: try again in ${wait} s.` }
          : {}),
        headers: ['Retry-After', String(wait)],
        members: { 'violated-policies': [name] },
      }),
    )
}
