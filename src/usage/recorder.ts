/** Counts each exchange at its end, for the company that it was for and the route that it took, on the day that it ended. */

import type { Exchange, ExchangeObserver } from '../exchange.ts'
import type { Calendar } from '../limits/calendar.ts'
import { levelOf } from '../telemetry/access-log.ts'
import { Account, type UsageSink } from './account.ts'

/** Accounts that are remembered at a time; then all are found anew. */
const MAX_ACCOUNTS = 65_536
/** Longer names are cut: an account is written down for each day. */
const MAX_NAME = 512
/** Milliseconds after which the clock on the wall is looked at again, for it may have been set. */
const DAY_CHECK_MS = 1_000

export function usageRecorder(
  sink: UsageSink,
  days: Calendar,
  clock: () => number = Date.now,
): ExchangeObserver {
  /** Route → company → account, of one day. */
  const accounts = new Map<string, Map<string, Account>>()
  let day = ''
  /** `performance.now()`: until then it is the same day. */
  let sameUntil = 0
  let count = 0

  const open = (route: string, company: string): Account => {
    if (count >= MAX_ACCOUNTS) forget()
    let companies = accounts.get(route)
    if (companies === undefined) {
      companies = new Map()
      accounts.set(route, companies)
    }
    const account = new Account(day, company.slice(0, MAX_NAME), route.slice(0, MAX_NAME))
    companies.set(company, account)
    count++
    return account
  }
  const forget = (): void => {
    accounts.clear()
    count = 0
  }

  const checkDay = (at: number): void => {
    const time = clock()
    const { label, end } = days.at(time)
    sameUntil = at + Math.min(DAY_CHECK_MS, end - time)
    if (label === day) return
    forget()
    day = label
  }

  return function recordUsage(exchange) {
    if (exchange.endedAt >= sameUntil) checkDay(exchange.endedAt)
    const route = exchange.route === null ? '' : exchange.route.name
    const company = exchange.identity?.companyId ?? ''
    const account = accounts.get(route)?.get(company) ?? open(route, company)
    const level = levelOf(exchange)
    const isError = level === 'error'
    // Who left before the end was refused nothing.
    const isRefused = level === 'warning' && exchange.outcome === 'answered'
    sink.add(
      account,
      1,
      isError ? 1 : 0,
      isRefused ? 1 : 0,
      exchange.bytesReceived + (exchange.body === null ? 0 : exchange.body.received),
      exchange.bytesSent,
      costOf(exchange),
      upstreamSeconds(exchange),
    )
  }
}

/**
 * What the gateway refused, or could not hand to its service, costs nothing. A policy may have written anything: what is no
 * amount would spoil the sum for good.
 */
function costOf({ cost, error, attempts }: Exchange): number {
  if (error !== null && (attempts === 0 || error.entry.retryable)) return 0
  return cost >= 0 && cost <= Number.MAX_SAFE_INTEGER ? cost : 0
}

/** From the first call, waiting for a connection included, to the end of its answer, or of the exchange where that came before. */
function upstreamSeconds({ upstreamBeganAt, upstreamEndedAt, endedAt }: Exchange): number {
  if (upstreamBeganAt === 0) return 0
  return ((upstreamEndedAt === 0 ? endedAt : upstreamEndedAt) - upstreamBeganAt) / 1000
}
