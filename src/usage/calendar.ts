/** The days of a time zone. */

/** Every offset in use today is a multiple of a quarter of an hour, so no day begins within one. */
export const QUARTER_MS = 15 * 60_000

export class Calendar {
  readonly timeZone: string
  readonly #format: Intl.DateTimeFormat
  #quarter = -1
  #day = ''

  /** @param timeZone a name of the IANA database, or `UTC` */
  constructor(timeZone: string) {
    this.timeZone = timeZone
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    })
  }

  /** The day at `time` (ms since 1970) as `YYYY-MM-DD`; the same text for the same day, asked for in order. */
  dayOf(time: number): string {
    const quarter = Math.floor(time / QUARTER_MS)
    if (quarter !== this.#quarter) {
      this.#quarter = quarter
      const day = this.#read(quarter * QUARTER_MS)
      if (day !== this.#day) this.#day = day
    }
    return this.#day
  }

  #read(time: number): string {
    const parts = this.#format.formatToParts(time)
    const part = (type: string): string => parts.find(each => each.type === type)!.value
    return `${part('year').padStart(4, '0')}-${part('month')}-${part('day')}`
  }
}

const DAY_MS = 86_400_000

/** Whether this is a day of the calendar in the form `YYYY-MM-DD`. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  const time = Date.parse(text)
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(text)
}

/** The day so many days later; earlier where it is less than 0. */
export function dayAfter(day: string, days: number): string {
  return new Date(Date.parse(day) + days * DAY_MS).toISOString().slice(0, 10)
}

/** Days from one to the other; 0: they are the same. */
export function daysBetween(from: string, to: string): number {
  return (Date.parse(to) - Date.parse(from)) / DAY_MS
}
