/**
 * What one thread does in the stress test of the shared counters. Checks that hold for one thread are made here and
 * throw; what only all threads together can show is left in the shared `tally` for the test.
 */

import { workerData } from 'node:worker_threads'
import type { CounterKey } from './counter-key.ts'
import { SharedCounters } from './shared-counters.ts'
import {
  FOREVER,
  LIMIT,
  SHARED_NAMES,
  START,
  TALLY,
  type ThreadTask,
  TICK,
  WINDOW_LIMIT,
  WINDOW_NAMES,
} from './stress-tally.ts'

const task = workerData as ThreadTask
const { thread, threads, names, rounds } = task
const counters = SharedCounters.attach(task.table)
const tally = new Int32Array(task.tally)

/** What is done in any case, on a machine however slow. */
const LEAST_WINDOWS = 200
const LEAST_TURNS = 20

/** Waits until all threads came here. The test may wait: what it tests does not. */
function meet(): void {
  const seen = Atomics.load(tally, TALLY.barrier)
  if (Atomics.add(tally, TALLY.arrived, 1) === threads - 1) {
    Atomics.store(tally, TALLY.arrived, 0)
    Atomics.add(tally, TALLY.barrier, 1)
    Atomics.notify(tally, TALLY.barrier)
  } else while (Atomics.load(tally, TALLY.barrier) === seen) Atomics.wait(tally, TALLY.barrier, seen)
}

/**
 * Window after window, in step: everything of one window has expired in the next, so in each one all threads claim the
 * same new names at once, out of slots that all hold expired ones. At its end each count has to be exact.
 */
function windows(): void {
  const keys = Array.from({ length: WINDOW_NAMES }, (_, name) => ({
    adds: counters.key(`adds-${name}`),
    takes: counters.key(`takes-${name}`),
  }))
  for (let window = 0; ; window++) {
    if (thread === 0) {
      tally.fill(0, TALLY.added)
      if (window >= LEAST_WINDOWS && performance.now() > ends) Atomics.store(tally, TALLY.stop, 1)
      else Atomics.store(tally, TALLY.windows, window + 1)
    }
    meet()
    if (Atomics.load(tally, TALLY.stop) === 1) return
    const now = START + window * TICK
    for (let round = 0; round < rounds; round++)
      for (let each = 0; each < names; each++) {
        const name = (window * 7 + ((each + thread) % names)) % WINDOW_NAMES
        const { adds, takes } = keys[name]!
        note(counters.add(adds, thread + 1, now + TICK, now), TALLY.added + name, thread + 1)
        note(counters.take(takes, 1, WINDOW_LIMIT, now + TICK, now), TALLY.granted + name, 1)
      }
    meet()
    if (thread === 0)
      for (const [name, { adds, takes }] of keys.entries()) {
        equal(counters.read(adds, now), tally[TALLY.added + name]!, `sum of ${name} in window ${window}`)
        const granted = tally[TALLY.granted + name]!
        equal(counters.read(takes, now), granted, `grants of ${name} in window ${window}`)
        if (granted > WINDOW_LIMIT) throw new Error(`${granted} grants of ${name} in window ${window}`)
      }
  }
}

/** Tallies an amount that was counted; not one that was declined or turned away. */
function note(answer: number | boolean | null, at: number, amount: number): void {
  Atomics.add(tally, TALLY.operations, 1)
  if (answer === null) Atomics.add(tally, TALLY.turnedAway, 1)
  else if (answer !== false) Atomics.add(tally, at, amount)
}

interface Private {
  readonly key: CounterKey
  value: number
  expires: number
}

/**
 * Out of step: names of one thread alone come and go by a clock that moves on, and must read as that thread left
 * them; meanwhile all count under names that stay, and share a few concurrency slots, in the same bucket.
 */
function churn(): void {
  const shared = Array.from({ length: SHARED_NAMES }, (_, name) => counters.key(`shared-${name}`))
  const slots = counters.key('slots')
  const own: Private[] = Array.from({ length: 12 }, (_, name) => ({
    key: counters.key(`own-${thread}-${name}`),
    value: 0,
    expires: 0,
  }))
  for (let turns = 0; turns < LEAST_TURNS || performance.now() < ends; turns++)
    for (let operation = 0; operation < 200; operation++) {
      const name = choose(SHARED_NAMES)
      const now = clock()
      note(counters.add(shared[name]!, 1, FOREVER, now), TALLY.shared + name, 1)
      const holding = holdSlot(slots, now)
      for (let each = 0; each < 3; each++) countPrivately(own[choose(own.length)]!, choose(1_000), choose(4))
      if (holding) releaseSlot(slots, now)
      // Slow enough that no thread sleeps through 2,048 ticks between two instructions.
      if (thread === 0 && operation === 0) Atomics.add(tally, TALLY.clock, 1)
    }
}

let turn = thread
/** A number below `from`, by a linear congruence: each thread has its own order, and the same one in each run. */
function choose(from: number): number {
  turn = (Math.imul(turn, 1_664_525) + 1_013_904_223) | 0
  return (turn >>> 8) % from
}

const clock = (): number => START + Atomics.load(tally, TALLY.clock) * TICK

/** Takes a slot if one is free, and notes whether there are more holders than slots. */
function holdSlot(slots: CounterKey, now: number): boolean {
  if (!counters.take(slots, 1, LIMIT, FOREVER, now)) return false
  const inUse = Atomics.add(tally, TALLY.inUse, 1) + 1
  if (inUse > Atomics.load(tally, TALLY.mostInUse)) Atomics.store(tally, TALLY.mostInUse, inUse)
  if (inUse > LIMIT) throw new Error(`${inUse} hold ${LIMIT} slots`)
  return true
}

function releaseSlot(slots: CounterKey, now: number): void {
  Atomics.sub(tally, TALLY.inUse, 1)
  counters.release(slots, 1, now)
}

function countPrivately(mine: Private, amount: number, ticks: number): void {
  const now = clock()
  const life = now + Math.max(1, ticks) * TICK
  const value = counters.add(mine.key, amount, life, now)
  // Another thread may have read the clock since: only what had not expired even now must have survived.
  const certain = mine.expires > clock()
  Atomics.add(tally, TALLY.operations, 1)
  if (value === null) {
    if (certain) throw new Error('a live name was turned away')
    Atomics.add(tally, TALLY.turnedAway, 1)
    return
  }
  const continued = value === mine.value + amount
  if (!(continued || (value === amount && !certain)))
    throw new Error(`${mine.value} + ${amount} became ${value}${certain ? '' : ' near its expiry'}`)
  mine.expires = continued ? Math.max(mine.expires, life) : life
  mine.value = value
}

function equal(actual: number, expected: number, what: string): void {
  if (actual !== expected) throw new Error(`${what} is ${actual}, counted were ${expected}`)
}

// Threads start at different times, the more so on a busy machine: the clock runs when all are there.
meet()
const ends = performance.now() + task.milliseconds
if (task.scenario === 'windows') windows()
else churn()
