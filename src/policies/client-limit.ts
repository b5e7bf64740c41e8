/** Limits per client address, in front of whatever costs more: of a token nothing is known here, nor looked at. */

import type { Client, Policy } from '../exchange.ts'
import { Gate, type GateEvents, Terms } from '../limits/gate.ts'
import type { LimitStore } from '../limits/meter.ts'
import { clientSubject } from '../limits/plans.ts'
import type { Rule } from '../limits/rules.ts'

export function clientLimit(rules: readonly Rule[], store: LimitStore, events: GateEvents): Policy {
  const terms = new Terms(rules, events)
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
