/**
 * The slots of one upstream, which all threads of the process share: how many there are, how many each thread uses, and
 * which thread has the one in its queue that is next. In one SharedArrayBuffer, without locks on the way of a request.
 *
 * A slot is taken by compare-and-swap on the number in use, so the limit is not exceeded for an instant. What a thread
 * uses is counted by itself as well: if it dies, the main thread gives that back (`clear`).
 *
 * A thread that frees a slot and does not have the next one wakes the thread that has. It hands nothing over: the slot
 * stays free for whoever may take it, so a thread that dies or hangs before it does costs the others nothing but its turn.
 */

import {
  checkBuffer,
  createBuffer,
  HEADER_BYTES,
  type Layout,
  OWN_HEADER_WORD,
} from '../store/shared-header.ts'
import { LIMIT_FIELDS } from './adaptive-limit.ts'

const LAYOUT: Layout = { name: 'upstream slots', kind: 5, version: 1 }

const WORKERS_AT = OWN_HEADER_WORD

/** Words that all write, each in a cache line of its own where it is written often. */
const IN_USE = 0
const LIMIT = 16
const LOCK = 17
const RESTING = 18
const OVER = 19
const WAITING = 32
const COMMON_WORDS = 48

/** Words of each thread, one cache line. */
const OWN_IN_USE = 0
const OWN_WAITING = 1
const WOKEN = 2
const REFUSED = 3
const OWN_RESTING = 8
const OWN_OVER = 9
/** In 64-bit floats from the beginning of the line. */
const TAG = 2
const WOKEN_AT = 3
const LINE_WORDS = 16

/** Common floats, behind the lines of the threads. */
const VIRTUAL_TIME = 0
const LAST_FINISH = 1
const MEAN_COST = 2
const LIMIT_STATE = 3
const FLOATS = LIMIT_STATE + LIMIT_FIELDS

/** A thread that was woken has so long to come; then the next one has its turn. */
const PATIENCE_MS = 20

export const NONE = -1

export interface SlotsView {
  readonly limit: number
  readonly inUse: number
  /** Of those in use, by streams. */
  readonly lent: number
  readonly waiting: number
  readonly refused: number
}

export class Slots {
  readonly buffer: SharedArrayBuffer
  readonly workers: number
  readonly #words: Int32Array
  readonly #floats: Float64Array
  readonly #shared: Float64Array

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer
    this.workers = new Int32Array(buffer, 0, HEADER_BYTES / 4)[WORKERS_AT]!
    this.#words = new Int32Array(buffer, HEADER_BYTES)
    this.#floats = new Float64Array(buffer, HEADER_BYTES)
    this.#shared = this.#floats.subarray((COMMON_WORDS + this.workers * LINE_WORDS) / 2)
  }

  static create(workers: number): Slots {
    const words = COMMON_WORDS + workers * LINE_WORDS
    const buffer = createBuffer(LAYOUT, words * 4 + FLOATS * 8)
    new Int32Array(buffer, 0, HEADER_BYTES / 4)[WORKERS_AT] = workers
    const slots = new Slots(buffer)
    for (let worker = 0; worker < workers; worker++) slots.publish(worker, Number.POSITIVE_INFINITY)
    return slots
  }

  /** @throws TypeError when the buffer holds something else */
  static attach(buffer: SharedArrayBuffer): Slots {
    checkBuffer(LAYOUT, buffer)
    return new Slots(buffer)
  }

  // Slots

  /**
   * Takes one, if there is one.
   * @param lent how many of those in use may be had all the same
   * @returns how many are in use now, without what is lent; 0: there was none
   */
  take(worker: number, lent = this.lent): number {
    const words = this.#words
    for (;;) {
      const inUse = Atomics.load(words, IN_USE)
      if (inUse - lent >= words[LIMIT]!) return 0
      if (Atomics.compareExchange(words, IN_USE, inUse, inUse + 1) !== inUse) continue
      words[lineOf(worker) + OWN_IN_USE]!++
      return Math.max(1, inUse + 1 - this.lent)
    }
  }

  give(worker: number): void {
    this.#words[lineOf(worker) + OWN_IN_USE]!--
    Atomics.sub(this.#words, IN_USE, 1)
  }

  /** Those that are lent included. */
  get free(): number {
    return this.#words[LIMIT]! + this.lent - Atomics.load(this.#words, IN_USE)
  }

  /** In use by streams that need them less than others. */
  get lent(): number {
    return this.#words[RESTING]! + this.#words[OVER]!
  }

  /** Of them: by streams at rest. */
  get resting(): number {
    return this.#words[RESTING]!
  }

  /** Of them: by streams that a company has beyond its part. */
  get over(): number {
    return this.#words[OVER]!
  }

  /** What this thread's streams lend from now on. */
  lend(worker: number, resting: number, over: number): void {
    const words = this.#words
    const line = lineOf(worker)
    Atomics.add(words, RESTING, resting - words[line + OWN_RESTING]!)
    Atomics.add(words, OVER, over - words[line + OWN_OVER]!)
    words[line + OWN_RESTING] = resting
    words[line + OWN_OVER] = over
  }

  get limit(): number {
    return this.#words[LIMIT]!
  }

  set limit(limit: number) {
    Atomics.store(this.#words, LIMIT, limit)
  }

  // Those that wait

  /** In all threads. */
  get waiting(): number {
    return Atomics.load(this.#words, WAITING)
  }

  count(worker: number, by: number): void {
    this.#words[lineOf(worker) + OWN_WAITING]! += by
    Atomics.add(this.#words, WAITING, by)
  }

  countRefused(worker: number): void {
    this.#words[lineOf(worker) + REFUSED]!++
  }

  /** Tells the others the start tag of the one that is next in this thread. */
  publish(worker: number, tag: number): void {
    this.#floats[lineOf(worker) / 2 + TAG] = tag
  }

  /** The other thread that has the next one, before `tag`; `NONE`: there is none, or none that comes when called. */
  before(worker: number, tag: number, now: number): number {
    let least = tag
    let found = NONE
    for (let other = 0; other < this.workers; other++) {
      const line = lineOf(other)
      const its = this.#floats[line / 2 + TAG]!
      if (other === worker || its >= least) continue
      const called = Atomics.load(this.#words, line + WOKEN) === 1
      if (called && now - this.#floats[line / 2 + WOKEN_AT]! > PATIENCE_MS) continue
      least = its
      found = other
    }
    return found
  }

  wake(worker: number, now: number): void {
    const line = lineOf(worker)
    if (Atomics.load(this.#words, line + WOKEN) === 1) return
    this.#floats[line / 2 + WOKEN_AT] = now
    Atomics.store(this.#words, line + WOKEN, 1)
    Atomics.notify(this.#words, line + WOKEN)
  }

  /**
   * Has `woken` called whenever this thread is woken. It keeps no process alive.
   * @returns what ends that
   */
  onWoken(worker: number, woken: () => void): () => void {
    const at = lineOf(worker) + WOKEN
    let ended = false
    const listen = (): void => {
      const waits = Atomics.waitAsync(this.#words, at, 0)
      if (waits.async) void waits.value.then(come)
      else queueMicrotask(come)
    }
    const come = (): void => {
      if (ended) return
      Atomics.store(this.#words, at, 0)
      woken()
      listen()
    }
    listen()
    return () => {
      ended = true
      Atomics.notify(this.#words, at)
    }
  }

  // What the threads know together

  get virtualTime(): number {
    return this.#shared[VIRTUAL_TIME]!
  }

  /** One was served that started at `start`, and its company finishes at `finish`. */
  served(start: number, finish: number): void {
    const shared = this.#shared
    // Two threads at once may leave the lesser of two: by one request, and until the next
    if (start > shared[VIRTUAL_TIME]!) shared[VIRTUAL_TIME] = start
    if (finish > shared[LAST_FINISH]!) shared[LAST_FINISH] = finish
  }

  /** Nobody waits: the virtual time is past all that was served. */
  idle(): void {
    this.#shared[VIRTUAL_TIME] = Math.max(this.#shared[VIRTUAL_TIME]!, this.#shared[LAST_FINISH]!)
  }

  /** Milliseconds that a request has its slot, as the mean of the last ones; 0: not known yet. */
  get meanCost(): number {
    return this.#shared[MEAN_COST]!
  }

  set meanCost(cost: number) {
    this.#shared[MEAN_COST] = cost
  }

  /** State of the adaptive limit, for whoever has the lock. */
  get limitState(): Float64Array {
    return this.#shared.subarray(LIMIT_STATE)
  }

  /** Whether this thread, and no other, may change that state until it unlocks. */
  lock(worker: number): boolean {
    return Atomics.compareExchange(this.#words, LOCK, 0, worker + 1) === 0
  }

  unlock(): void {
    Atomics.store(this.#words, LOCK, 0)
  }

  // For the main thread

  get view(): SlotsView {
    let refused = 0
    for (let worker = 0; worker < this.workers; worker++)
      refused += this.#words[lineOf(worker) + REFUSED]! >>> 0
    const inUse = Atomics.load(this.#words, IN_USE)
    return { limit: this.limit, inUse, lent: this.lent, waiting: this.waiting, refused }
  }

  /** A thread has ended, and another may take its number: what it used is free, and the others are told. */
  clear(worker: number, now: number): void {
    const words = this.#words
    const line = lineOf(worker)
    this.publish(worker, Number.POSITIVE_INFINITY)
    Atomics.compareExchange(words, LOCK, worker + 1, 0)
    this.lend(worker, 0, 0)
    Atomics.sub(words, IN_USE, Atomics.exchange(words, line + OWN_IN_USE, 0))
    Atomics.sub(words, WAITING, Atomics.exchange(words, line + OWN_WAITING, 0))
    Atomics.store(words, line + WOKEN, 0)
    for (let other = 0; other < this.workers; other++) if (other !== worker) this.wake(other, now)
  }
}

function lineOf(worker: number): number {
  return COMMON_WORDS + worker * LINE_WORDS
}
