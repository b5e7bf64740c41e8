/**
 * Counters that all threads of the process share, for limits, quotas, concurrency slots and blocks.
 *
 * Each operation is exact whatever the other threads do at the same moment: no increment is lost, a limit is not
 * exceeded even for an instant, and no two names share a counter (odds in `counter-key.ts`, proof in
 * `counter-table.ts`). Nothing here waits, throws or grows on the request path.
 *
 * Times are milliseconds since 1970. `now` is the caller's: read `Date.now()` once per request and hand it to all
 * operations of that request. Expiry is kept in tenths of a second and rounded up. Clocks that step back lengthen
 * lives; they never revive an expired entry that was reclaimed.
 *
 * Values are integers from 0 to 2^53 - 1 and stay within: sums saturate, differences stop at zero.
 *
 * @example
 * const counters = SharedCounters.create({ capacity: 100_000 })
 * // in each thread
 * const mine = SharedCounters.attach(counters.buffer)
 * const key = mine.key(`requests|${companyId}`)
 * const now = Date.now()
 * const windowEnd = Math.ceil((now + 1) / 60_000) * 60_000
 * if (mine.take(key, 1, 100, windowEnd, now) === false) refuse()
 */

import type { CounterKey } from './counter-key.ts'
import { CounterTable, MAX_VALUE, NONE } from './counter-table.ts'

/**
 * Computes a counter's next value from its current one. A negative number (or NaN) declines: the counter stays. It may
 * be called several times for one operation, so it must not have effects.
 */
export type Step = (current: number, amount: number, limit: number) => number

/** A step declined. */
export const DECLINED = -1

/** Before the first one: whatever is published is alive then. */
const ANY_TICK = 0

export interface CountersOptions {
  /** How many live names the table holds with next to no overflow; about 61 bytes of memory each. Up to 25 million. */
  readonly capacity: number
  /** The moment from which expiry is counted; none before it and none later than 6.8 years after it. */
  readonly now?: number
}

export class SharedCounters {
  readonly #table: CounterTable

  private constructor(table: CounterTable) {
    this.#table = table
  }

  /**
   * A new table of counters. Hand its `buffer` to the other threads.
   *
   * @throws RangeError when the capacity is not within 1 to 25 million, or the memory is not to be had
   */
  static create(options: CountersOptions): SharedCounters {
    return new SharedCounters(CounterTable.create(options.capacity, options.now ?? Date.now()))
  }

  /**
   * The counters that another thread created.
   *
   * @throws TypeError when the buffer holds something else, or another build's layout
   */
  static attach(buffer: SharedArrayBuffer): SharedCounters {
    return new SharedCounters(CounterTable.attach(buffer))
  }

  /** The memory that all threads share. */
  get buffer(): SharedArrayBuffer {
    return this.#table.buffer
  }

  /** Milliseconds since 1970, the same in all threads: before anything was counted, and from which fine times may be told. */
  get epoch(): number {
    return this.#table.epoch
  }

  /** How many operations were answered with `null` so far, over all threads; modulo 2^32. For metrics. */
  get overflows(): number {
    return this.#table.overflows
  }

  /** Hashes a name. Keep the key where the name is used often: it costs as much as the operation on it. */
  key(name: string): CounterKey {
    return this.#table.key(name)
  }

  /** The value of a counter; 0 when there is none. */
  read(key: CounterKey, now: number): number {
    const table = this.#table
    const tick = table.tickOf(now)
    for (;;) {
      const slot = table.find(key, tick)
      if (slot === NONE) return 0
      const { value } = table
      if (table.unchanged(slot)) return value
    }
  }

  /**
   * Adds to a counter, which starts at zero and lives until `expiresAt` at least.
   *
   * @param amount an integer, zero or more
   * @returns the new value; `null` when the table has no room for one more name there: count it elsewhere or not
   */
  add(key: CounterKey, amount: number, expiresAt: number, now: number): number | null {
    return this.update(key, sum, amount, MAX_VALUE, expiresAt, now)
  }

  /**
   * Adds to a counter unless that would take it over `limit`. A refusal changes nothing.
   *
   * What holds a concurrency slot has to be released before the counter expires, or it is forgotten: choose
   * `expiresAt` beyond the longest request, or renew it with `add(key, 0, …)`.
   *
   * @returns whether it was granted; `null` when the table has no room for one more name there
   */
  take(key: CounterKey, amount: number, limit: number, expiresAt: number, now: number): boolean | null {
    const value = this.update(key, sumWithin, amount, limit, expiresAt, now)
    return value === null ? null : value !== DECLINED
  }

  /** Gives back what `take` granted, down to zero. Returns the new value; 0 when there is no counter. */
  release(key: CounterKey, amount: number, now: number): number {
    return this.#change(key, difference, amount, now)
  }

  /**
   * Takes from a counter what it holds. Makes none where there is none, and lengthens no life.
   *
   * @returns what is left; `DECLINED` when it holds less
   */
  draw(key: CounterKey, amount: number, now: number): number {
    const table = this.#table
    const tick = table.tickOf(now)
    for (;;) {
      const slot = table.find(key, tick)
      if (slot === NONE) return DECLINED
      const left = table.value - amount
      if (!(left >= 0)) {
        if (table.unchanged(slot)) return DECLINED
        continue
      }
      if (table.replace(slot, Math.floor(left))) return Math.floor(left)
    }
  }

  /** Sets a counter back to zero. It keeps its place in the table until it expires. */
  reset(key: CounterKey, now: number): void {
    this.#change(key, zero, 0, now)
  }

  /**
   * Changes a counter by a function of its value, in one atomic step. The base of the others, and enough for GCRA: there
   * the value is the theoretical arrival time in microseconds.
   *
   * @example
   * // One request per `interval`, and `burst` ahead of time; all in microseconds.
   * const arrive: Step = (arrival, interval, latest) => {
   *   const next = Math.max(arrival, latest - burst) + interval
   *   return next > latest ? DECLINED : next
   * }
   * counters.update(key, arrive, interval, now * 1000 + burst, now + burst / 1000, now)
   *
   * @returns the new value; `DECLINED` when the step declined; `null` when the table has no room for one more name there
   */
  update(
    key: CounterKey,
    step: Step,
    amount: number,
    limit: number,
    expiresAt: number,
    now: number,
  ): number | null {
    const tick = this.#table.tickOf(now)
    return this.#update(key, step, amount, limit, expiresAt, tick, tick)
  }

  /**
   * As `update`, but goes on from what the counter held when it expired, while nobody has taken its place: for values that
   * count for nothing by then, as arrival times in the past do. That is several times cheaper than to begin anew.
   */
  resume(
    key: CounterKey,
    step: Step,
    amount: number,
    limit: number,
    expiresAt: number,
    now: number,
  ): number | null {
    return this.#update(key, step, amount, limit, expiresAt, this.#table.tickOf(now), ANY_TICK)
  }

  /** @param since counters that expired before this tick are gone */
  #update(
    key: CounterKey,
    step: Step,
    amount: number,
    limit: number,
    expiresAt: number,
    tick: number,
    since: number,
  ): number | null {
    const table = this.#table
    const expires = table.expiryTickOf(expiresAt, tick)
    for (;;) {
      const slot = table.find(key, since)
      if (slot === NONE) {
        if (!table.claim(key, tick, expires)) return null
        continue
      }
      const next = step(table.value, amount, limit)
      if (!(next >= 0)) {
        if (table.unchanged(slot)) return DECLINED
        continue
      }
      const value = next < MAX_VALUE ? Math.floor(next) : MAX_VALUE
      // First the life, then the value: what was counted must not expire before its time.
      if (table.extend(slot, expires) && table.replace(slot, value)) return value
    }
  }

  /** Changes a counter that exists, and leaves its expiry. */
  #change(key: CounterKey, step: Step, amount: number, now: number): number {
    const table = this.#table
    const tick = table.tickOf(now)
    for (;;) {
      const slot = table.find(key, tick)
      if (slot === NONE) return 0
      const value = step(table.value, amount, 0)
      if (table.replace(slot, value)) return value
    }
  }
}

const sum: Step = (current, amount) => (amount >= 0 ? current + amount : DECLINED)

const sumWithin: Step = (current, amount, limit) =>
  amount >= 0 && current + amount <= limit ? current + amount : DECLINED

const difference: Step = (current, amount) =>
  amount > 0 ? Math.max(0, current - Math.floor(amount)) : current

const zero: Step = () => 0
