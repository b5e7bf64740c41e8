/** The finish tags of companies at one upstream, in shared memory: a company that waits in two threads is one company. */

import type { CounterKey } from '../store/counter-key.ts'
import type { SharedCounters, Step } from '../store/shared-counters.ts'
import type { Tags } from './fair-queue.ts'
import type { Slots } from './slots.ts'

/** Of a millisecond with a slot. Counters are whole numbers up to 2^53: years of work, at a thousand slots. */
const UNITS = 64

/** A tag that is not touched for so long is behind the virtual time, or will be forgiven. */
const LIFE_MS = 60_000

/** Tags are kept in whole units, costs are handed in as milliseconds. */
export class SharedTags implements Tags<CounterKey> {
  readonly #counters: SharedCounters
  readonly #slots: Slots
  readonly #prefix: string
  readonly #now: () => number
  /** How far corrections may put a company behind the virtual time, in milliseconds with a slot. */
  readonly #reach: () => number

  constructor(
    counters: SharedCounters,
    slots: Slots,
    upstream: string,
    reach: () => number,
    now: () => number = Date.now,
  ) {
    this.#counters = counters
    this.#slots = slots
    this.#prefix = `fair|${upstream}|`
    this.#reach = reach
    this.#now = now
  }

  keyOf(company: string): CounterKey {
    return this.#counters.key(this.#prefix + company)
  }

  get virtualTime(): number {
    return this.#slots.virtualTime
  }

  finishOf(key: CounterKey): number {
    return this.#counters.read(key, this.#now())
  }

  serve(key: CounterKey, start: number, cost: number): void {
    const units = Math.max(1, Math.round(cost * UNITS))
    const now = this.#now()
    // Without room for one more company it has no past: it starts at the virtual time each time
    const finish = this.#counters.update(key, later, units, start, now + LIFE_MS, now) ?? start + units
    this.#slots.served(start, finish)
  }

  correct(key: CounterKey, difference: number): void {
    const now = this.#now()
    const units = Math.round(difference * UNITS)
    const furthest = this.#slots.virtualTime + Math.round(this.#reach() * UNITS)
    this.#counters.update(key, corrected, units, furthest, now + LIFE_MS, now)
  }

  idle(): void {
    this.#slots.idle()
  }
}

const later: Step = (finish, cost, start) => Math.max(finish, start) + cost

const corrected: Step = (finish, difference, furthest) =>
  Math.max(0, Math.min(finish + difference, Math.max(finish, furthest)))
