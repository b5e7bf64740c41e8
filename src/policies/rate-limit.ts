/** How much may they? Holds a request against the rules of its company's plan, and says in its answer what is left. */

import { type ErrorCode, GatewayError } from '../errors.ts'
import type { Exchange, Handler, Policy, Reply } from '../exchange.ts'
import { type Level, policyField, rateLimitField } from '../limits/fields.ts'
import type { Meter } from '../limits/meter.ts'
import type { RouteRules } from '../limits/plans.ts'
import { problemReply } from '../problem.ts'

export interface RateLimitOptions {
  readonly rules: RouteRules
  /** `rate_limited`, or what the clients of this route understand. */
  readonly code: ErrorCode
  /** Told of the names of rules that refused, or would have. */
  readonly onViolated: (enforced: boolean) => void
}

export function rateLimit(options: RateLimitOptions): Policy {
  const { rules } = options

  return function rateLimit(exchange, next) {
    const bound = rules.bind(exchange.identity, exchange.client)
    exchange.weight = bound.weight
    const meters = exchange.upgrade ? bound.sockets : bound.requests
    return meters.length === 0 ? next(exchange) : new Attempt(exchange, meters, next, options).run(0)
  }
}

type AttemptOptions = Pick<RateLimitOptions, 'code' | 'onViolated'>

/**
 * One request in front of several meters: it passes all of them, or takes nothing of any. Meters whose state is at hand
 * answer at once, and then nothing here waits.
 */
export class Attempt {
  readonly #exchange: Exchange
  readonly #meters: readonly Meter[]
  readonly #next: Handler
  readonly #options: AttemptOptions
  readonly #now = Date.now()
  readonly #levels: Level[] = []

  constructor(exchange: Exchange, meters: readonly Meter[], next: Handler, options: AttemptOptions) {
    this.#exchange = exchange
    this.#meters = meters
    this.#next = next
    this.#options = options
  }

  run(from: number): Reply | Promise<Reply> {
    const meters = this.#meters
    for (let index = from; index < meters.length; index++) {
      const meter = meters[index]!
      const taken = meter.take(amountOf(meter, this.#exchange), this.#now)
      if (typeof taken !== 'number')
        return taken.then(level => (this.#record(meter, level) ? this.run(index + 1) : this.#refuse(meter)))
      if (!this.#record(meter, taken)) return this.#refuse(meter)
    }
    return this.#pass()
  }

  /** @returns whether the request may go on */
  #record({ rule }: Meter, level: number): boolean {
    this.#levels.push({ rule, level })
    if (level >= 0) return true
    this.#exchange.violated = [...this.#exchange.violated, rule.name]
    this.#options.onViolated(!rule.dryRun)
    return rule.dryRun
  }

  #pass(): Reply | Promise<Reply> {
    const exchange = this.#exchange
    this.#tell()
    if (this.#meters.some(settlesLater)) exchange.onEnd(() => this.#settle())
    return this.#next(exchange)
  }

  #refuse(refusing: Meter): Reply {
    const { code } = this.#options
    this.#giveBack()
    this.#tell()
    const wait = Math.ceil(-this.#levels.at(-1)!.level / 1000)
    const { name } = refusing.rule
    return problemReply(
      this.#exchange,
      new GatewayError(code, {
        ...(code === 'rate_limited'
          ? { detail: `The limit "${name}" is used up: try again in ${wait} s.` }
          : {}),
        headers: ['Retry-After', String(wait)],
        members: { 'violated-policies': [name] },
      }),
    )
  }

  /** What the rules before the one that refused had granted. */
  #giveBack(): void {
    for (const [index, { level }] of this.#levels.entries()) {
      const meter = this.#meters[index]!
      if (level >= 0) meter.giveBack(amountOf(meter, this.#exchange), this.#now)
    }
  }

  #tell(): void {
    const levels = this.#levels.filter(({ rule }) => !rule.dryRun)
    if (levels.length === 0) return
    const rules = this.#meters.map(({ rule }) => rule).filter(({ dryRun }) => !dryRun)
    this.#exchange.limitFields = [
      ...this.#exchange.limitFields,
      'RateLimit-Policy',
      policyField(rules),
      'RateLimit',
      rateLimitField(levels, this.#now),
    ]
  }

  /** The exchange has ended: slots are free, and what it took is known. */
  #settle(): void {
    const now = Date.now()
    for (const [index, meter] of this.#meters.entries()) {
      const granted = this.#levels[index]!.level >= 0
      if (meter.rule.kind === 'slots') {
        if (granted) meter.giveBack(1, now)
        continue
      }
      const counted = granted ? amountOf(meter, this.#exchange) : 0
      const more = inTheEnd(meter, this.#exchange) - counted
      if (more > 0) meter.charge(more, now)
      else if (more < 0) meter.giveBack(-more, now)
    }
  }
}

const settlesLater = ({ rule }: Meter): boolean => rule.kind === 'slots' || rule.unit !== 'requests'

/** What is known when the request comes. Of bytes that is nothing, and then it is asked whether any are left. */
function amountOf({ rule }: Meter, exchange: Exchange): number {
  switch (rule.unit) {
    case 'requests':
      return 1
    case 'cost':
      return exchange.estimatedCost
    case 'bytesIn':
    case 'bytesOut':
      return 0
  }
}

function inTheEnd({ rule }: Meter, exchange: Exchange): number {
  switch (rule.unit) {
    case 'requests':
      return 1
    case 'cost':
      return exchange.cost
    case 'bytesIn':
      return (exchange.body?.received ?? 0) + exchange.bytesReceived
    case 'bytesOut':
      return exchange.bytesSent
  }
}
