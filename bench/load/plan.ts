import type { Expected, Seen } from './question.ts'
import type { TokenSource } from './tokens.ts'

/** What the generator is told to ask. */
export type Plan = {
  port: number
  connections: number
  /** Where `{n}` stands, 0 to `paths` - 1 is put in turn. */
  path: string
  paths: number
  tokens: TokenSource
  /** Number of the first request: turns follow one another instead of asking the same again. */
  first: number
  expected: Expected
  pace: Pace
}

export type Pace =
  /** Each connection asks again as soon as it was answered, until so many requests are done. */
  | { kind: 'closed'; requests: number }
  /** Requests are sent by the clock, whether earlier ones were answered or not; latency counts from the planned
   *  time. The first `warmUp` seconds are not counted: the generator's own code is cold then. */
  | { kind: 'open'; perSecond: number; seconds: number; warmUp: number }

/** What the generator saw; latencies in microseconds. */
export type Outcome = Seen & {
  p999: number
  most: number
  /** Open pace: by how much requests left later than planned, at the 99th percentile: the generator's own fault. */
  late: number
}
