/** Several meters in front of one request: it passes all of them, or takes nothing of any. */

import type { Exchange, Handler, Reply } from '../exchange.ts'
import { policyField, rateLimitField } from './fields.ts'
import type { Meter, Taken } from './meter.ts'
import type { Rule, Unit } from './rules.ts'

/** What becomes of a request that a rule refuses. */
export interface GateEvents {
  /** A rule was broken, which is enforced or not. */
  onViolated(enforced: boolean): void
  /** @param wait seconds after which it may be tried again */
  refuse(exchange: Exchange, rule: Rule, wait: number): Reply
}

/** Levels of the request at hand. Nothing in the loop that writes them calls back, so one set serves all. */
const levels: Taken[] = []

/** What is the same for all who pass the gates of some rules, made once for them. */
export class Terms {
  readonly rules: readonly Rule[]
  readonly events: GateEvents
  /** Something is left to do at the end of a request. */
  readonly settlesLater: boolean
  /** The value of `RateLimit-Policy`; '': there is nothing to tell. */
  readonly policy: string

  constructor(rules: readonly Rule[], events: GateEvents) {
    this.rules = rules
    this.events = events
    this.settlesLater = rules.some(({ kind, unit }) => kind === 'slots' || unit !== 'requests')
    this.policy = policyField(rules.filter(({ dryRun }) => !dryRun))
  }
}

/**
 * Made once for each subject and used for all its requests. Meters whose state is at hand answer at once, and then nothing
 * here waits or is allocated but the fields of the answer.
 */
export class Gate {
  readonly #terms: Terms
  readonly #meters: readonly Meter[]

  /** @param meters of the rules of the terms, in their order */
  constructor(terms: Terms, meters: readonly Meter[]) {
    this.#terms = terms
    this.#meters = meters
  }

  /** Lets the exchange go on to `next`, or refuses it. */
  pass(exchange: Exchange, next: Handler): Reply | Promise<Reply> {
    const now = Date.now()
    const meters = this.#meters
    const { rules } = this.#terms
    for (let index = 0; index < rules.length; index++) {
      const rule = rules[index]!
      const taken = meters[index]!.take(amountOf(rule.unit, exchange), now, exchange.waitedForLimits)
      if (typeof taken !== 'number')
        return this.#passLater(exchange, next, now, taken, levels.slice(0, index))
      levels[index] = taken
      if (taken < 0 && !this.#mayGoOn(exchange, rule))
        return this.#refuse(exchange, levels, index, index + 1, now)
    }
    return this.#granted(exchange, next, levels, now)
  }

  /**
   * The same, from a meter on whose state is elsewhere. The rest of them are asked beside it, so that a request waits once
   * and not for one after the other.
   */
  async #passLater(
    exchange: Exchange,
    next: Handler,
    now: number,
    first: Promise<Taken>,
    before: readonly Taken[],
  ): Promise<Reply> {
    const { rules } = this.#terms
    const known = before.length
    const waited = exchange.waitedForLimits
    const begun = performance.now()
    const rest = this.#meters
      .slice(known + 1)
      .map((meter, index) => meter.take(amountOf(rules[known + 1 + index]!.unit, exchange), now, waited))
    const levels = [...before, ...(await Promise.all([first, ...rest]))]
    exchange.waitedForLimits += performance.now() - begun
    for (let index = known; index < levels.length; index++) {
      if (levels[index]! < 0 && !this.#mayGoOn(exchange, rules[index]!))
        return this.#refuse(exchange, levels, index, levels.length, now)
    }
    return this.#granted(exchange, next, levels, now)
  }

  #mayGoOn(exchange: Exchange, { name, dryRun }: Rule): boolean {
    exchange.violated = [...exchange.violated, name]
    this.#terms.events.onViolated(!dryRun)
    return dryRun
  }

  #granted(exchange: Exchange, next: Handler, levels: readonly Taken[], now: number): Reply | Promise<Reply> {
    this.#tell(exchange, levels, this.#meters.length, now)
    if (!this.#terms.settlesLater) return next(exchange)
    const granted = this.#meters.map((_, index) => levels[index]! >= 0)
    exchange.onEnd(ended => this.#settle(ended, granted))
    return exchange.upgrade ? this.#passHandshake(exchange, next, granted) : next(exchange)
  }

  /**
   * It asks for a WebSocket, which anybody can do of any service: until it has one, it is a request like any other.
   * @param granted changed where slots are free before the end
   */
  async #passHandshake(exchange: Exchange, next: Handler, granted: boolean[]): Promise<Reply> {
    const reply = await next(exchange)
    if (reply.status !== 101 || exchange.outcome !== null) return reply
    for (const [index, rule] of this.#terms.rules.entries()) {
      if (rule.kind !== 'slots' || rule.of !== 'requests' || !granted[index]) continue
      granted[index] = false
      this.#meters[index]!.giveBack(1, Date.now())
    }
    return reply
  }

  /**
   * What the other rules had granted is given back.
   * @param at the first that refused
   * @param known how many of the meters have been asked
   */
  #refuse(exchange: Exchange, levels: readonly Taken[], at: number, known: number, now: number): Reply {
    const { rules, events } = this.#terms
    for (let index = 0; index < known; index++) {
      if (levels[index]! >= 0) this.#meters[index]!.giveBack(amountOf(rules[index]!.unit, exchange), now)
    }
    this.#tell(exchange, levels, at + 1, now)
    return events.refuse(exchange, rules[at]!, Math.ceil(-levels[at]! / 1000))
  }

  /** @param known how many of the meters have been asked */
  #tell(exchange: Exchange, levels: readonly Taken[], known: number, now: number): void {
    const { rules, policy } = this.#terms
    if (policy === '') return
    const { text, least } = rateLimitField(rules, levels, known, now)
    const fields = ['RateLimit-Policy', policy, 'RateLimit', text]
    const before = exchange.limitFields
    if (before.length === 0) exchange.limitFields = fields
    else exchange.limitFields = least < exchange.leastLeft ? [...fields, ...before] : [...before, ...fields]
    exchange.leastLeft = Math.min(exchange.leastLeft, least)
  }

  /** The exchange has ended: slots are free, and what it took is known. */
  #settle(exchange: Exchange, granted: readonly boolean[]): void {
    const now = Date.now()
    for (const [index, { kind, unit }] of this.#terms.rules.entries()) {
      const meter = this.#meters[index]!
      if (kind === 'slots') {
        if (granted[index]) meter.giveBack(1, now)
        continue
      }
      // Whoever counts requests knew all there is to know
      if (unit === 'requests') continue
      const more = inTheEnd(unit, exchange) - (granted[index] ? amountOf(unit, exchange) : 0)
      if (more > 0) meter.charge(more, now)
      else if (more < 0) meter.giveBack(-more, now)
    }
  }
}

/** What is known when the request comes. Of bytes that is nothing, and then it is asked whether any are left. */
function amountOf(unit: Unit, exchange: Exchange): number {
  switch (unit) {
    case 'requests':
      return 1
    case 'cost':
      return exchange.estimatedCost
    case 'bytesIn':
    case 'bytesOut':
      return 0
  }
}

function inTheEnd(unit: Exclude<Unit, 'requests'>, exchange: Exchange): number {
  switch (unit) {
    case 'cost':
      return exchange.cost
    case 'bytesIn':
      return (exchange.body?.received ?? 0) + exchange.bytesReceived
    case 'bytesOut':
      return exchange.bytesSent
  }
}
