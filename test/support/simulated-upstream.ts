/** A service of so many slots with a queue inside, in a time that a test drives: what comes, when, and how long it takes. */

import { MinHeap } from './min-heap.ts'

/** Milliseconds that a request takes once it has a slot. */
export type ServiceTime = () => number

export class Simulation {
  now = 0
  readonly #events = new MinHeap<{ at: number; run: () => void }>(({ at }) => at)

  at(time: number, run: () => void): void {
    this.#events.push({ at: Math.max(time, this.now), run })
  }

  /** Runs all that happens up to a time. */
  runUntil(time: number): void {
    for (let next = this.#events.peek(); next !== undefined && next.at <= time; next = this.#events.peek()) {
      this.#events.pop()
      this.now = next.at
      next.run()
    }
    this.now = time
  }
}

export class SimulatedUpstream {
  slots: number
  serviceTime: ServiceTime
  /** Slot-milliseconds of work done. */
  busy = 0
  answered = 0
  readonly #simulation: Simulation
  readonly #queue: { answered: () => void; takes: number }[] = []
  #taken = 0

  constructor(simulation: Simulation, slots: number, serviceTime: ServiceTime) {
    this.#simulation = simulation
    this.slots = slots
    this.serviceTime = serviceTime
  }

  request(answered: () => void, takes = this.serviceTime()): void {
    this.#queue.push({ answered, takes })
    this.#serve()
  }

  #serve(): void {
    while (this.#taken < this.slots && this.#queue.length > 0) {
      const { answered, takes } = this.#queue.shift()!
      this.#taken++
      this.#simulation.at(this.#simulation.now + takes, () => {
        this.#taken--
        this.busy += takes
        this.answered++
        answered()
        this.#serve()
      })
    }
  }
}

/** Numbers from 0 to 1 that are the same in each run (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

export const SERVICE_TIMES = {
  constant: (mean: number) => () => () => mean,
  /** Within a fifth of the mean. */
  jittered: (mean: number) => (random: () => number) => () => mean * (0.8 + 0.4 * random()),
  exponential: (mean: number) => (random: () => number) => () => -Math.log(1 - random()) * mean,
  /** One in fifty takes twenty times as long. */
  tailed: (mean: number) => (random: () => number) => () =>
    random() < 0.02 ? mean * 20 : mean * (0.8 + 0.4 * random()),
} as const
