import type { Exchange, ExchangeObserver, Outcome } from '../exchange.ts'
import { now } from '../wire/clock.ts'

/**
 * The outcome of an exchange is known: whoever still works for it is released, what it held is given back, everyone who
 * counts is told. Once: what comes later changes nothing.
 */
export function settle(exchange: Exchange, outcome: Outcome, observers: readonly ExchangeObserver[]): void {
  if (exchange.outcome !== null) return
  exchange.outcome = outcome
  exchange.endedAt = now()
  exchange.release()
  exchange.tellEnd()
  for (const observe of observers) observe(exchange)
}
