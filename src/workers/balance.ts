/**
 * Keeps long-lived connections spread over the workers. The kernel spreads new ones by hash, which is as good as drawing
 * lots: of 8 connections over 4 workers one gets 3 or more, often 5, and after a worker was replaced the new one has none at
 * all. A worker with clearly more than its share says `Connection: close` on some answers: those clients come back and
 * draw again. (Figures: docs/architecture.md.)
 */

import { now } from '../wire/clock.ts'

/** By how many connections over its share a worker may stand, at the least. */
const MIN_TOLERANCE = 1
/** The same as a part of the share. Lots over 1,000 connections mostly stay within it, so big crowds are left alone. */
const TOLERANCE = 1 / 8

/**
 * How many connections a worker has beyond what it may keep; 0: none. Between its share and that bound it sheds nothing,
 * so that one that has just been relieved is not shedding again with the next client that comes.
 * @param all the connections of every worker that serves, this one's among them
 */
export function surplus(own: number, all: readonly number[]): number {
  const share = all.reduce((sum, count) => sum + count, 0) / all.length
  const bound = Math.ceil(share) + Math.max(MIN_TOLERANCE, Math.floor(share * TOLERANCE))
  return Math.max(0, own - bound)
}

/** Whether a worker should send one of its clients away. */
export function shouldShed(own: number, all: readonly number[]): boolean {
  return all.length > 1 && surplus(own, all) > 0
}

/** Ticks that it must have lasted: short-lived connections come and go in crowds, and are gone before it would matter. */
const PATIENCE = 10
/** Clients sent away per tick, at the most; and as a part of the surplus, so that crowds settle as fast as pairs. */
const MAX_PER_TICK = 10
const PART_PER_TICK = 1 / 8
/** Ticks without an effect double the pause up to this many: streams cannot be moved, so shedding may be in vain. */
const MAX_PAUSE = 64

/** Milliseconds that a connection must have been open: who came a moment ago may be gone before it would matter. */
const MIN_AGE = 5_000

/** The pace of it: how many connections may be shed until the next tick. */
export class Shedding {
  #allowance = 0
  #before = Number.POSITIVE_INFINITY
  #pause = 1
  #wait = PATIENCE
  #taken = true

  /** Called at an even pace with the present counts. */
  tick(own: number, all: readonly number[]): void {
    this.#allowance = 0
    if (!shouldShed(own, all)) {
      this.#before = Number.POSITIVE_INFINITY
      this.#wait = PATIENCE
      return
    }
    if (this.#wait > 0) {
      this.#wait--
      return
    }
    this.#pause = own < this.#before || !this.#taken ? 1 : Math.min(MAX_PAUSE, this.#pause * 2)
    this.#before = own
    this.#taken = false
    this.#wait = this.#pause - 1
    this.#allowance = Math.min(MAX_PER_TICK, Math.ceil(surplus(own, all) * PART_PER_TICK))
  }

  /**
   * Whether the connection whose answer is about to be written should end with it. Mostly costs one comparison.
   * @param openedAt when it was accepted, in the same milliseconds as `now`
   */
  take(openedAt: number, time: () => number = now): boolean {
    if (this.#allowance === 0 || time() - openedAt < MIN_AGE) return false
    this.#allowance--
    this.#taken = true
    return true
  }
}
