/**
 * How many things run at a time, over all workers of the process. A worker that dies takes its own along: the counters
 * of an **era** then count no more, and each of the others counts what it holds anew in the next one, within
 * `RENEWAL_MS`. So it is where a clock that was set ahead, or a process that was frozen, let counters of what is held
 * expire: whoever holds something and finds that begins an era, since nobody knows what others added to them meanwhile.
 */

import type { CounterKey } from '../store/counter-key.ts'
import { DECLINED, type SharedCounters, type Step } from '../store/shared-counters.ts'

/** A counter lives for so long beyond the last time that somebody renewed it. */
const LIFE_MS = 60_000
const RENEWAL_MS = 10_000

const within: Step = (used, amount, most) => (used + amount > most ? DECLINED : used + amount)

interface Held {
  count: number
  key: CounterKey
}

export class Slots {
  readonly #counters: SharedCounters
  readonly #era: Int32Array
  readonly #held = new Map<string, Held>()
  #seenEra: number
  /** From when on no counter of what is held can have expired until `LIFE_MS` later. */
  #renewedAt = 0
  #timer: NodeJS.Timeout | null = null

  /** @param era one cell in shared memory, which `beginEra` moves on */
  constructor(counters: SharedCounters, era: Int32Array) {
    this.#counters = counters
    this.#era = era
    this.#seenEra = Atomics.load(era, 0)
  }

  /** Called when a worker has died: what it held is free. */
  static beginEra(era: Int32Array): void {
    Atomics.add(era, 0, 1)
  }

  /**
   * Takes one more.
   * @returns how many are in use then, or `DECLINED`; 0 when there is no room for another counter
   */
  take(name: string, most: number, now: number): number {
    this.#followEra(now)
    const held = this.#held.get(name)
    const key = held?.key ?? this.#keyOf(name)
    const used = this.#counters.update(key, within, 1, most, now + LIFE_MS, now)
    if (used === null) return 0
    if (used === DECLINED) return DECLINED
    if (held === undefined) this.#held.set(name, { count: 1, key })
    else held.count++
    this.#renewLater(now)
    return used
  }

  giveBack(name: string, now: number): void {
    this.#followEra(now)
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#counters.release(held.key, 1, now)
    if (--held.count === 0) this.#held.delete(name)
  }

  #keyOf(name: string): CounterKey {
    return this.#counters.key(`${this.#seenEra}|${name}`)
  }

  #followEra(now: number): void {
    if (this.#held.size > 0 && now - this.#renewedAt >= LIFE_MS) Slots.beginEra(this.#era)
    const era = Atomics.load(this.#era, 0)
    if (era === this.#seenEra) return
    this.#seenEra = era
    this.#renewedAt = now
    for (const [name, held] of this.#held) {
      held.key = this.#keyOf(name)
      this.#counters.add(held.key, held.count, now + LIFE_MS, now)
    }
  }

  #renewLater(now: number): void {
    if (this.#timer !== null) return
    this.#renewedAt = now
    this.#timer = setInterval(() => {
      const now = Date.now()
      this.#followEra(now)
      for (const { key } of this.#held.values()) this.#counters.add(key, 0, now + LIFE_MS, now)
      this.#renewedAt = now
      if (this.#held.size > 0) return
      clearInterval(this.#timer!)
      this.#timer = null
    }, RENEWAL_MS)
    this.#timer.unref()
  }
}
