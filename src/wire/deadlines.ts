/**
 * Deadlines of everything that waits, checked by one timer: setting one is a number written to a field, where a timer
 * of its own for each wait would be a list operation on every request. Precise to one period, always late, never early.
 */

import { now } from './clock.ts'

export interface Expiring {
  /** `performance.now()` at which `expire` is due; 0: no deadline. */
  deadline: number
  expire(): void
}

const PERIOD_MS = 100

const watched = new Set<Expiring>()
let timer: NodeJS.Timeout | null = null

export function watchDeadline(item: Expiring): void {
  watched.add(item)
  if (timer !== null) return
  timer = setInterval(sweep, PERIOD_MS)
  timer.unref()
}

export function unwatchDeadline(item: Expiring): void {
  watched.delete(item)
  if (watched.size > 0 || timer === null) return
  clearInterval(timer)
  timer = null
}

/** The deadline that lies `seconds` ahead. */
export function deadlineIn(seconds: number): number {
  return now() + seconds * 1000
}

/** The earlier of two deadlines, of which each may be none. */
export function sooner(one: number, other: number): number {
  if (one === 0 || other === 0) return one + other
  return Math.min(one, other)
}

function sweep(): void {
  const time = now()
  for (const item of watched) {
    if (item.deadline === 0 || item.deadline > time) continue
    item.deadline = 0
    item.expire()
  }
}
