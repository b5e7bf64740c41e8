/** Requests that wait for an answer of Redis: for so long and no longer. */

import type { Taken } from './meter.ts'

export class Waiting {
  readonly amount: number
  readonly units: number
  readonly now: number
  readonly since = performance.now()
  done = false
  readonly #resolve: (taken: Taken) => void

  constructor(amount: number, now: number, resolve: (taken: Taken) => void) {
    this.amount = amount
    this.units = Math.ceil(amount)
    this.now = now
    this.#resolve = resolve
  }

  resolve(taken: Taken): void {
    if (this.done) return
    this.done = true
    this.#resolve(taken)
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
