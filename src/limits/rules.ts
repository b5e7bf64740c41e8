/** Rules of plans, compiled: what each counts, and what its state says about what is left. */

import type { RuleConfig } from '../config/limits.ts'
import { Calendar, type CalendarUnit, type CalendarWindow } from './calendar.ts'

export type Unit = RuleConfig['unit']
/** Whose state it is; of a claim, its path. */
export type By = 'company' | 'user' | 'ip' | readonly string[]

interface Common {
  readonly name: string
  readonly by: By
  readonly unit: Unit
  /** Counted and logged, not enforced. */
  readonly dryRun: boolean
  /** How much there is at most: of a rate, what may come at once. */
  readonly most: number
  /** What `RateLimit` says of it (`fields.ts`), as far as that is always the same. */
  readonly beginning: string
}

/** The generic cell rate algorithm (ITU-T I.371; "virtual scheduling"): a rate without window edges. */
export interface RateRule extends Common {
  readonly kind: 'rate'
  /** Milliseconds that pass for each unit. */
  readonly interval: number
  /** Units in each window, and the window in seconds, as they were written. */
  readonly limit: number
  readonly window: number
}

/** So much in each day or month of the calendar. */
export interface QuotaRule extends Common {
  readonly kind: 'quota'
  readonly unitOfTime: CalendarUnit
  readonly windowAt: (now: number) => CalendarWindow
}

/** So many at a time: of requests, or of WebSockets. */
export interface SlotRule extends Common {
  readonly kind: 'slots'
  readonly of: 'requests' | 'sockets'
}

export type Rule = RateRule | QuotaRule | SlotRule

/** @param config checked before: it has exactly one kind of limit */
export function compileRule(config: RuleConfig, timeZone: string): Rule {
  const { name, limit, window, burst, concurrent, sockets, unit, dryRun } = config
  const common = { name, by: byOf(config.by), unit, dryRun, beginning: `"${name}";r=` }
  if (limit === undefined) {
    const of = concurrent === undefined ? 'sockets' : 'requests'
    return { kind: 'slots', ...common, most: (concurrent ?? sockets)!, of }
  }
  if (window === 'day' || window === 'month') {
    const calendar = new Calendar(window, timeZone)
    const windowAt = (now: number): CalendarWindow => calendar.at(now)
    return { kind: 'quota', ...common, most: limit, unitOfTime: window, windowAt }
  }
  const interval = (window! * 1000) / limit
  return { kind: 'rate', ...common, most: burst ?? limit, interval, limit, window: window! }
}

function byOf(by: RuleConfig['by']): By {
  return by === 'company' || by === 'user' || by === 'ip' ? by : by.slice('claim:'.length).split('.')
}

/**
 * What is left and until when that holds.
 * @param level what the store said when it granted: of a rate the milliseconds by which its state is ahead of now, of the
 * others what is used
 */
export function remaining(rule: Rule, level: number): number {
  const used = rule.kind === 'rate' ? level / rule.interval : level
  // What is known only afterwards may take a state beyond its bound. Rounding must not take a whole unit away.
  return Math.max(0, Math.floor(rule.most - used + 1e-6))
}

/** Seconds until all of it is there again; 0: that is up to others. */
export function resetIn(rule: Rule, level: number, now: number): number {
  switch (rule.kind) {
    case 'rate':
      return Math.ceil(level / 1000)
    case 'quota':
      return Math.ceil((rule.windowAt(now).end - now) / 1000)
    case 'slots':
      return 0
  }
}
