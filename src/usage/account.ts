/** What usage is counted under, and what is counted. */

/** One company's use of one route on one day. Made once for many requests, so that each finds it by a name and no text. */
export class Account {
  /** `YYYY-MM-DD` */
  readonly day: string
  /** '': no company was known. */
  readonly company: string
  /** Its name; '': none fitted. */
  readonly route: string
  /** The three as one text. */
  readonly key: string
  /** Under which number the ring knows it, and since which start of the numbering; -1: not yet. */
  ringId = -1
  ringEpoch = -1

  constructor(day: string, company: string, route: string) {
    this.day = day
    this.company = company
    this.route = route
    this.key = JSON.stringify([day, company, route])
  }

  /** The one whose `key` this is. */
  static of(key: string): Account {
    const [day, company, route] = JSON.parse(key) as [string, string, string]
    return new Account(day, company, route)
  }
}

export interface UsageSums {
  requests: number
  /** Those that the gateway or an upstream failed at. */
  errors: number
  /** Those that were refused, and not failed at. */
  refused: number
  bytesIn: number
  bytesOut: number
  cost: number
  /** Seconds that upstreams worked for them. */
  upstreamSeconds: number
}

/** The sums in the order in which they are handed on and written down. */
export const SUMS = [
  'requests',
  'errors',
  'refused',
  'bytesIn',
  'bytesOut',
  'cost',
  'upstreamSeconds',
] as const satisfies readonly (keyof UsageSums)[]

/** Takes what has been counted. An object for each request would be garbage for each request: hence the many numbers. */
export interface UsageSink {
  add(
    account: Account,
    requests: number,
    errors: number,
    refused: number,
    bytesIn: number,
    bytesOut: number,
    cost: number,
    upstreamSeconds: number,
  ): void
}
