/** Whose plan is which, and which rules of it hold on a route. */

import type { LimitsConfig } from '../config/limits.ts'
import type { Client } from '../exchange.ts'
import { claimAt } from '../identity/claims.ts'
import type { Identity } from '../identity/identity.ts'
import { networkOf } from './address.ts'
import { Gate, type GateEvents, Terms } from './gate.ts'
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
  /** In front of requests, and of those that ask for a WebSocket; null: nothing holds for them. */
  readonly requests: Gate | null
  readonly handshakes: Gate | null
}

/** The rules of one route, bound to whoever comes. What was bound to a token or to an address is kept with it. */
export class RouteRules {
  readonly #plans: Plans
  readonly #store: LimitStore
  readonly #events: GateEvents
  readonly #route: string
  readonly #outlines = new Map<Plan, Outline>()
  readonly #byIdentity = new WeakMap<Identity, Binding>()
  /** Of those without a token. */
  #anonymous: Binding | null = null

  constructor(plans: Plans, store: LimitStore, events: GateEvents, route: string) {
    this.#plans = plans
    this.#store = store
    this.#events = events
    this.#route = route
  }

  bind(identity: Identity | null, client: Client): Bound {
    const binding = this.#bindingOf(identity)
    return binding.byClient === null ? binding : this.#bindClient(binding, binding.byClient, client)
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
    const outline = this.#outlineOf(this.#plans.of(identity), identity === null)
    const meters = outline.own.map(rule => this.#store.meter(rule, subjectOf(rule.by, identity!)))
    if (outline.perClient.length === 0)
      return { ...boundBy(outline, meters), outline, meters, byClient: null }
    const { weight } = outline
    return { weight, requests: null, handshakes: null, outline, meters, byClient: new WeakMap() }
  }

  /** @param anonymous whoever asks without a token is counted by address, whatever the rules say */
  #outlineOf(plan: Plan, anonymous: boolean): Outline {
    const known = anonymous ? undefined : this.#outlines.get(plan)
    if (known !== undefined) return known
    const holding = plan.rules.filter(({ routes }) => routes === null || routes.has(this.#route))
    const rules = holding.map(({ rule }) => rule)
    const perClient = rules.filter(({ by }) => anonymous || by === 'ip')
    const own = rules.filter(rule => !perClient.includes(rule))
    const inOrder = [...own, ...perClient]
    const handshakes = new Terms(inOrder, this.#events)
    const requests = inOrder.every(takesRequests)
      ? handshakes
      : new Terms(inOrder.filter(takesRequests), this.#events)
    const outline = { weight: plan.weight, own, perClient, requests, handshakes }
    if (!anonymous) this.#outlines.set(plan, outline)
    return outline
  }

  #bindClient({ outline, meters }: Binding, byClient: WeakMap<Client, Bound>, client: Client): Bound {
    let bound = byClient.get(client)
    if (bound === undefined) {
      const subject = clientSubject(client)
      const more = outline.perClient.map(rule => this.#store.meter(rule, subject))
      bound = boundBy(outline, [...meters, ...more])
      byClient.set(client, bound)
    }
    return bound
  }
}

/** What is the same for all who come to a route under one plan. */
interface Outline {
  readonly weight: number
  readonly own: readonly Rule[]
  /** Rules whose subject is the address, or for whose subject it has to stand. */
  readonly perClient: readonly Rule[]
  readonly requests: Terms
  readonly handshakes: Terms
}

interface Binding extends Bound {
  readonly outline: Outline
  /** Of the rules whose subject is not the address. */
  readonly meters: readonly Meter[]
  /** null: there are none about addresses */
  readonly byClient: WeakMap<Client, Bound> | null
}

/** @param meters of all rules of the outline */
function boundBy({ weight, requests, handshakes }: Outline, meters: readonly Meter[]): Bound {
  const all = meters.length === 0 ? null : new Gate(handshakes, meters)
  if (requests === handshakes) return { weight, requests: all, handshakes: all }
  const some = meters.filter(({ rule }) => takesRequests(rule))
  return { weight, requests: some.length === 0 ? null : new Gate(requests, some), handshakes: all }
}

const takesRequests = (rule: Rule): boolean => rule.kind !== 'slots' || rule.of === 'requests'

/**
 * Who has no team is counted as the company, who has no company as the user: nobody is without limits for want of one.
 * @param by anything but the address
 */
function subjectOf(by: By, { companyId, userId, claims }: Identity): string {
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
