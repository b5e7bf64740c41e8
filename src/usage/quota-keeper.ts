/**
 * Quotas over restarts, where no Redis keeps them: what is used of each is read out of the shared counters of limits now and
 * then, and put back into them at the next start.
 */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import { Calendar, type CalendarUnit } from '../limits/calendar.ts'
import { KEPT_MS } from '../limits/local-store.ts'
import type { CounterKey } from '../store/counter-key.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import type { QuotaEntry, QuotaTable } from './quota-table.ts'

/** A quota that somebody has begun to use, as `limits/local-store.ts` names it. */
export interface QuotaName {
  /** Without its period. */
  readonly name: string
  readonly period: string
  /** Milliseconds since 1970. */
  readonly end: number
}

interface Kept extends QuotaName {
  readonly key: CounterKey
  written: number
}

const FLUSH_MS = 1_000
/** Rows in one transaction: the thread that writes may be the one that serves. */
const BATCH = 128

export class QuotaKeeper {
  readonly #table: QuotaTable
  readonly #counters: SharedCounters
  readonly #logger: Logger
  readonly #kept = new Map<string, Kept>()
  readonly #timer: NodeJS.Timeout
  #fails = false

  constructor(table: QuotaTable, counters: SharedCounters, logger: Logger) {
    this.#table = table
    this.#counters = counters
    this.#logger = logger
    this.#timer = setInterval(() => this.flush(), FLUSH_MS)
    this.#timer.unref()
  }

  /** Puts back what is known of the days and months of now, before anybody counts. */
  restore({ limits }: GatewayConfig, now: number = Date.now()): void {
    if (limits === undefined) return
    for (const unit of unitsOf(limits)) {
      const { label: period, end } = new Calendar(unit, limits.timeZone).at(now)
      for (const [name, used] of this.#table.loadQuotas(period)) {
        const kept = this.#keep({ name, period, end })
        kept.written = this.#counters.add(kept.key, used, end + KEPT_MS, now) ?? 0
      }
      this.#table.pruneQuotas(period)
    }
  }

  note(names: readonly QuotaName[]): void {
    for (const name of names) this.#keep(name)
  }

  /** Writes what has changed; what cannot be written now is tried again. */
  flush(now: number = Date.now()): void {
    const changed: (QuotaEntry & { readonly kept: Kept })[] = []
    for (const [id, kept] of this.#kept) {
      if (now > kept.end + KEPT_MS) this.#kept.delete(id)
      else {
        const used = this.#counters.read(kept.key, now)
        if (used !== kept.written) changed.push({ key: kept.name, period: kept.period, used, kept })
      }
    }
    try {
      for (let at = 0; at < changed.length; at += BATCH) {
        const batch = changed.slice(at, at + BATCH)
        this.#table.saveQuotas(batch)
        for (const { kept, used } of batch) kept.written = used
      }
      this.#fails = false
    } catch (error) {
      if (!this.#fails) this.#logger.error({ error }, 'Quotas cannot be written: they are tried again')
      this.#fails = true
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.flush()
  }

  #keep(quota: QuotaName): Kept {
    const id = `${quota.name}|${quota.period}`
    let kept = this.#kept.get(id)
    if (kept === undefined) {
      kept = { ...quota, key: this.#counters.key(id), written: -1 }
      this.#kept.set(id, kept)
    }
    return kept
  }
}

function unitsOf({ plans }: NonNullable<GatewayConfig['limits']>): Set<CalendarUnit> {
  const windows = Object.values(plans).flatMap(({ rules }) => rules.map(({ window }) => window))
  return new Set(windows.filter(window => window === 'day' || window === 'month'))
}
