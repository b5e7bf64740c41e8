/** The limits of one configuration, assembled: what the list of policies takes from here. */

import type { LimitsConfig } from '../config/limits.ts'
import type { RouteConfig } from '../config/schema.ts'
import type { GateEvents } from './gate.ts'
import type { LimitStore } from './meter.ts'
import { Plans, RouteRules, type UnknownPlan } from './plans.ts'
import { compileRule, type Rule } from './rules.ts'

export interface LimitEvents {
  readonly onUnknownPlan: UnknownPlan
  /** A request broke a rule, which is enforced or not. */
  readonly onViolated: GateEvents['onViolated']
}

export class Limits {
  /** Per client address, before anything is known of who asks. */
  readonly clients: readonly Rule[]
  readonly store: LimitStore
  readonly #plans: Plans | null
  readonly #events: LimitEvents

  constructor(config: LimitsConfig, store: LimitStore, events: LimitEvents) {
    this.clients = config.clients.map(rule =>
      compileRule(
        { ...rule, by: 'ip', unit: 'requests', concurrent: undefined, sockets: undefined },
        config.timeZone,
      ),
    )
    this.store = store
    this.#plans =
      Object.keys(config.plans).length === 0
        ? null
        : new Plans(config, (...names) => events.onUnknownPlan(...names))
    this.#events = events
  }

  /** null: there are no plans. */
  rulesOf(
    { name, path }: Pick<RouteConfig, 'name' | 'path'>,
    refuse: GateEvents['refuse'],
  ): RouteRules | null {
    if (this.#plans === null) return null
    return new RouteRules(this.#plans, this.store, this.eventsWith(refuse), name ?? path)
  }

  eventsWith(refuse: GateEvents['refuse']): GateEvents {
    return { onViolated: this.#events.onViolated, refuse }
  }
}
