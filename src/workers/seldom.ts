import type { SharedCounters } from '../store/shared-counters.ts'

const SELDOM_MS = 60_000

/** Whether whoever asks is the first of all workers in a minute to say something, named by `what`. */
export function seldom(counters: SharedCounters, what: string): boolean {
  const now = Date.now()
  return counters.take(counters.key(what), 1, 1, now + SELDOM_MS, now) === true
}
