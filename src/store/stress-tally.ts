/** What the stress test of the shared counters and its threads agree on. */

export const START = 1_800_000_000_000
export const TICK = 100
export const LIMIT = 3
export const SHARED_NAMES = 4
export const FOREVER = START + 1e11

export const WINDOW_NAMES = 60
export const WINDOW_LIMIT = 7

/** Places in the tally. Arrivals and generation are the barrier's. */
export const TALLY = {
  stop: 0,
  clock: 1,
  inUse: 2,
  arrived: 3,
  barrier: 4,
  operations: 5,
  turnedAway: 6,
  windows: 7,
  mostInUse: 8,
  /** One for each shared name. */
  shared: 16,
  /** One for each window name: how much was added, how much was granted. */
  added: 32,
  granted: 32 + WINDOW_NAMES,
  length: 32 + 2 * WINDOW_NAMES,
} as const

export interface ThreadTask {
  readonly scenario: 'windows' | 'churn'
  readonly thread: number
  readonly threads: number
  readonly table: SharedArrayBuffer
  readonly tally: SharedArrayBuffer
  readonly milliseconds: number
  /** Windows only: names counted in each, twice over, and how often each thread does so. */
  readonly names: number
  readonly rounds: number
}
