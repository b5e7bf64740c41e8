/** Limits per client address, in front of whatever costs more: of a token nothing is known here, nor looked at. */

import type { Client, Policy } from '../exchange.ts'
import { Gate, type GateEvents, Terms } from '../limits/gate.ts'
import type { Limits } from '../limits/limits.ts'
import { clientSubject } from '../limits/plans.ts'

/** @returns false where no such limits are configured */
export function clientLimit(limits: Limits | null, refuse: GateEvents['refuse']): Policy | false {
  if (limits === null || limits.clients.length === 0) return false
  const { clients: rules, store } = limits
  const terms = new Terms(rules, limits.eventsWith(refuse))
  const gates = new WeakMap<Client, Gate>()

  return function clientLimit(exchange, next) {
    const { client } = exchange
    let gate = gates.get(client)
    if (gate === undefined) {
      // Under a name that no rule of a plan has
      const subject = `any|${clientSubject(client)}`
      gate = new Gate(
        terms,
        rules.map(rule => store.meter(rule, subject)),
      )
      gates.set(client, gate)
    }
    return gate.pass(exchange, next)
  }
}
