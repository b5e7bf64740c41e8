/** Whose plan is which, and which rules of it hold on a route. */

import type { LimitsConfig } from '../config/limits.ts'
import type { Client } from '../exchange.ts'
import { claimAt } from '../identity/claims.ts'
import type { Identity } from '../identity/identity.ts'
import { networkOf } from './address.ts'
import type { LimitStore, Meter } from './meter.ts'
import { type By, compileRule, type Rule } from './rules.ts'

export interface Plan {
  readonly name: string
  /** Share of a fair queue, against that of others. */
  readonly weight: number
  readonly rules: readonly PlannedRule[]
}

interface PlannedRule {
  readonly rule: Rule
  /** null: all */
  readonly routes: ReadonlySet<string> | null
}

/** A token names a plan that does not exist. */
export type UnknownPlan = (company: string, plan: string) => void

const NO_PLAN: Plan = { name: '', weight: 1, rules: [] }

export class Plans {
  readonly #plans: ReadonlyMap<string, Plan>
  readonly #companies: ReadonlyMap<string, Plan>
  readonly #byDefault: Plan
  readonly #claim: readonly string[]
  readonly #onUnknown: UnknownPlan

  /** @param config checked before: every plan that it names exists */
  constructor(config: LimitsConfig, onUnknown: UnknownPlan) {
    const { plans, companies, defaultPlan, planClaim, timeZone } = config
    this.#plans = new Map(
      Object.entries(plans).map(([name, { weight, rules }]) => [
        name,
        {
          name,
          weight,
          rules: rules.map(rule => ({
            rule: compileRule(rule, timeZone),
            routes: rule.routes === undefined ? null : new Set(rule.routes),
          })),
        },
      ]),
    )
    this.#companies = new Map(
      Object.entries(companies).map(([company, plan]) => [company, this.#plans.get(plan)!]),
    )
    this.#byDefault = (defaultPlan === undefined ? undefined : this.#plans.get(defaultPlan)) ?? NO_PLAN
    this.#claim = planClaim.split('.')
    this.#onUnknown = onUnknown
  }

  /** The table of companies is the operator's word, and wins; then the token's; then the default. */
  of(identity: Identity | null): Plan {
    if (identity === null) return this.#byDefault
    const { companyId, claims } = identity
    const listed = companyId === null ? undefined : this.#companies.get(companyId)
    if (listed !== undefined) return listed
    const claimed = claimAt(claims, this.#claim)
    if (typeof claimed !== 'string' || claimed === '') return this.#byDefault
    const plan = this.#plans.get(claimed)
    if (plan === undefined) this.#onUnknown(companyId ?? identity.userId, claimed)
    return plan ?? this.#byDefault
  }
}

/** What holds for one subject on one route. */
export interface Bound {
  readonly weight: number
  /** Meters of requests, and of those that ask for a WebSocket. */
  readonly requests: readonly Meter[]
  readonly sockets: readonly Meter[]
}

/** The rules of one route, bound to whoever comes. What was bound to a token or to an address is kept with it. */
export class RouteRules {
  readonly #plans: Plans
  readonly #store: LimitStore
  readonly #route: string
  readonly #byIdentity = new WeakMap<Identity, Binding>()
  readonly #byClient = new WeakMap<Client, Map<Plan, readonly Meter[]>>()
  /** Of those without a token. */
  #anonymous: Binding | null = null

  constructor(plans: Plans, store: LimitStore, route: string) {
    this.#plans = plans
    this.#store = store
    this.#route = route
  }

  bind(identity: Identity | null, client: Client): Bound {
    const binding = this.#bindingOf(identity)
    if (binding.perClient.length === 0) return binding
    const meters = this.#clientMeters(binding, client)
    return {
      weight: binding.weight,
      requests: [...binding.requests, ...meters.filter(takesRequests)],
      sockets: [...binding.sockets, ...meters.filter(takesSockets)],
    }
  }

  #bindingOf(identity: Identity | null): Binding {
    if (identity === null) {
      this.#anonymous ??= this.#make(null)
      return this.#anonymous
    }
    let binding = this.#byIdentity.get(identity)
    if (binding === undefined) {
      binding = this.#make(identity)
      this.#byIdentity.set(identity, binding)
    }
    return binding
  }

  #make(identity: Identity | null): Binding {
    const plan = this.#plans.of(identity)
    const meters: Meter[] = []
    const perClient: Rule[] = []
    for (const { rule, routes } of plan.rules) {
      if (routes !== null && !routes.has(this.#route)) continue
      const subject = identity === null ? null : subjectOf(rule.by, identity)
      if (subject === null) perClient.push(rule)
      else meters.push(this.#store.meter(rule, subject))
    }
    const requests = meters.filter(takesRequests)
    return { plan, weight: plan.weight, requests, sockets: meters.filter(takesSockets), perClient }
  }

  #clientMeters({ plan, perClient }: Binding, client: Client): readonly Meter[] {
    let plans = this.#byClient.get(client)
    if (plans === undefined) {
      plans = new Map()
      this.#byClient.set(client, plans)
    }
    let meters = plans.get(plan)
    if (meters === undefined) {
      const subject = clientSubject(client)
      meters = perClient.map(rule => this.#store.meter(rule, subject))
      plans.set(plan, meters)
    }
    return meters
  }
}

interface Binding extends Bound {
  readonly plan: Plan
  /** Rules whose subject is the address, or for whose subject it has to stand. */
  readonly perClient: readonly Rule[]
}

const takesRequests = ({ rule }: Meter): boolean => rule.kind !== 'slots' || rule.of === 'requests'
const takesSockets = ({ rule }: Meter): boolean => rule.kind !== 'slots' || rule.of === 'sockets'

/** Who has no team is counted as the company, who has no company as the user: nobody is without limits for want of one. */
function subjectOf(by: By, { companyId, userId, claims }: Identity): string | null {
  if (by === 'ip') return null
  if (typeof by === 'object') {
    const value = claimAt(claims, by)
    if (typeof value === 'string' || typeof value === 'number') return `claim:${by.join('.')}=${value}`
  }
  if (by !== 'user' && companyId !== null) return `company:${companyId}`
  return `user:${userId}`
}

export function clientSubject({ ip }: Pick<Client, 'ip'>): string {
  return `ip:${networkOf(ip)}`
}
