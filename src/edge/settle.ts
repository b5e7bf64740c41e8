import type { Exchange, ExchangeObserver, Outcome } from '../exchange.ts'

/**
 * The outcome of an exchange is known: whoever still works for it is released, everyone who counts is told. Once: what
 * comes later changes nothing.
 */
export function settle(exchange: Exchange, outcome: Outcome, observers: readonly ExchangeObserver[]): void {
  if (exchange.outcome !== null) return
  exchange.outcome = outcome
  exchange.release()
  for (const observe of observers) observe(exchange)
}
