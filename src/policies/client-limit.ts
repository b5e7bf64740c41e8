/** Limits per client address, in front of whatever costs more: of a token nothing is known here, nor looked at. */

import type { Client, Policy } from '../exchange.ts'
import type { LimitStore, Meter } from '../limits/meter.ts'
import { clientSubject } from '../limits/plans.ts'
import type { Rule } from '../limits/rules.ts'
import { Attempt, type RateLimitOptions } from './rate-limit.ts'

export interface ClientLimitOptions extends Pick<RateLimitOptions, 'code' | 'onViolated'> {
  readonly clients: readonly Rule[]
  readonly store: LimitStore
}

export function clientLimit({ clients, store, ...options }: ClientLimitOptions): Policy {
  const bound = new WeakMap<Client, readonly Meter[]>()

  return function clientLimit(exchange, next) {
    const { client } = exchange
    let meters = bound.get(client)
    if (meters === undefined) {
      // Under a name that no rule of a plan has
      const subject = `any|${clientSubject(client)}`
      meters = clients.map(rule => store.meter(rule, subject))
      bound.set(client, meters)
    }
    return new Attempt(exchange, meters, next, options).run(0)
  }
}
