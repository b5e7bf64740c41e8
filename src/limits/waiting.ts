/** Requests that wait for an answer of Redis: for so long and no longer. */

import type { Taken } from './meter.ts'

export class Waiting {
  readonly amount: number
  readonly units: number
  readonly now: number
  readonly since = performance.now()
  done = false
  readonly #resolve: (taken: Taken) => void
  #timer: NodeJS.Timeout | undefined

  constructor(amount: number, now: number, resolve: (taken: Taken) => void) {
    this.amount = amount
    this.units = Math.ceil(amount)
    this.now = now
    this.#resolve = resolve
  }

  resolve(taken: Taken): void {
    if (this.done) return
    this.done = true
    clearTimeout(this.#timer)
    this.#resolve(taken)
  }

  /** Decides after so many milliseconds, should nobody have done so: it has waited elsewhere before. */
  atMost(ms: number, decide: (each: Waiting) => Taken): void {
    this.#timer = setTimeout(() => this.resolve(decide(this)), Math.max(1, ms))
  }
}

/** Decides for those who have waited for so long in all, should a call that they wait for take longer. */
export function inTime(
  waiting: readonly Waiting[],
  timeoutMs: number,
  call: Promise<void>,
  decide: (each: Waiting) => Taken,
): void {
  const waited = performance.now() - waiting[0]!.since
  const timer = setTimeout(
    () => {
      for (const each of waiting) if (!each.done) each.resolve(decide(each))
    },
    Math.max(1, timeoutMs - waited),
  )
  void call.then(() => clearTimeout(timer))
}
