/** Days and months as people count them: in a time zone, with its changes of clock. */

import type { CALENDAR } from '../config/limits.ts'

export type CalendarUnit = (typeof CALENDAR)[number]

/** A day or a month; moments in milliseconds since 1970. */
export interface CalendarWindow {
  readonly start: number
  /** The first moment that is no longer in it. */
  readonly end: number
  /** `2026-11-27` or `2026-11`. */
  readonly label: string
}

const DAY_MS = 86_400_000

/** The windows of one unit in one time zone. The one of the last question is kept, which as a rule is that of the next. */
export class Calendar {
  readonly #unit: CalendarUnit
  readonly #format: Intl.DateTimeFormat
  #window: CalendarWindow = { start: 0, end: 0, label: '' }

  /** @param timeZone a name of the IANA database that exists */
  constructor(unit: CalendarUnit, timeZone: string) {
    this.#unit = unit
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    })
  }

  /** The window that `now` falls in. */
  at(now: number): CalendarWindow {
    if (now < this.#window.start || now >= this.#window.end) this.#window = this.#find(now)
    return this.#window
  }

  #find(now: number): CalendarWindow {
    const { year, month, day } = this.#local(now)
    const first = this.#unit === 'day' ? day : 1
    const next = this.#unit === 'day' ? Date.UTC(year, month - 1, day + 1) : Date.UTC(year, month, 1)
    const label = new Date(Date.UTC(year, month - 1, first)).toISOString()
    return {
      start: this.#beginOf(Date.UTC(year, month - 1, first)),
      end: this.#beginOf(next),
      label: label.slice(0, this.#unit === 'day' ? 10 : 7),
    }
  }

  /**
   * The first moment of a local day. Where clocks are set forward at midnight the day begins with what follows the gap.
   * @param midnight the day's 00:00 as if the zone were UTC
   */
  #beginOf(midnight: number): number {
    // No zone is further from UTC than 14 hours: the day begins between these two, and each step halves what is left.
    let before = midnight - DAY_MS
    let from = midnight + DAY_MS
    while (from - before > 1) {
      const middle = Math.floor((before + from) / 2)
      if (this.#localTime(middle) < midnight) before = middle
      else from = middle
    }
    return from
  }

  /** The zone's clock at a moment, as if it were UTC. It may be set back, but never over a midnight that has begun. */
  #localTime(moment: number): number {
    const { year, month, day, hour, minute, second } = this.#local(moment)
    return Date.UTC(year, month - 1, day, hour, minute, second)
  }

  #local(moment: number): Record<'year' | 'month' | 'day' | 'hour' | 'minute' | 'second', number> {
    const parts = { year: 0, month: 0, day: 0, hour: 0, minute: 0, second: 0 }
    for (const { type, value } of this.#format.formatToParts(moment)) {
      if (type in parts) parts[type as keyof typeof parts] = Number(value)
    }
    return parts
  }
}
