/**
 * What stands in front of one upstream in one thread: the slots that all threads share, the limit of them, and this
 * thread's part of the queue. A request that finds a free slot and nobody waiting takes it, and no more happens.
 */

import { isDeepStrictEqual } from 'node:util'
import type { CounterKey } from '../store/counter-key.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import { deadlineIn, type Expiring, unwatchDeadline, watchDeadline } from '../wire/deadlines.ts'
import { AdaptiveLimit, type LimitBounds } from './adaptive-limit.ts'
import { FairQueue, type PassedOver, type Waiting } from './fair-queue.ts'
import { SharedTags } from './shared-tags.ts'
import { NONE, type Slots } from './slots.ts'
import { LOOK_MS, type Moving, Stream, type StreamKind, Streams } from './streams.ts'

export interface GateOptions extends GateSettings {
  readonly upstream: string
  readonly slots: Slots
  /** Of companies, at all upstreams. */
  readonly tags: SharedCounters
  readonly worker: number
  /** Milliseconds of a clock that is the same in all threads. */
  readonly now?: () => number
}

/** What another configuration may say otherwise. */
export interface GateSettings {
  /** Requests that may wait in this thread. */
  readonly queueSize: number
  /** Milliseconds that one may wait. */
  readonly queueTimeout: number
  /** A number of slots that never changes, or within which bounds it is found. */
  readonly concurrency: number | LimitBounds
  /** Whether streams lend their slots. */
  readonly streamsLend: boolean
}

/** Milliseconds with a slot that a request is thought to take before any has been seen. */
const UNKNOWN_COST = 100
/** How much the last request counts in the mean. */
const RECENT = 0.1
/** Companies whose mean is kept. */
const MAX_COMPANIES = 10_000
/** Corrections put a company back by this part of the time that it may wait, at the most, if one other competes. */
const REACH = 1 / 8
/** From this part of the limit on, answers tell something of it. */
const TELLING = 1 / 3
const MAX_RETRY_SECONDS = 60

/** Always due: while one waits, the sweep looks after the queue each time. */
const ALWAYS = 1

/** Milliseconds since 1970 with fractions, and never backwards within a thread. */
const wallClock = (): number => performance.timeOrigin + performance.now()

export class Gate implements Expiring {
  deadline = ALWAYS
  readonly now: () => number
  readonly #slots: Slots
  readonly #worker: number
  #settings: GateSettings
  #limit: AdaptiveLimit | null
  readonly #queue: FairQueue<CounterKey>
  readonly #costs = new Map<string, number>()
  readonly #reach: () => number
  readonly #streams: Streams
  readonly #looks: Expiring
  /** Of the queue, as the other threads know it. */
  #counted = 0
  #turning = false
  readonly #unlisten: () => void = () => {}

  constructor(options: GateOptions) {
    const { slots, worker, upstream } = options
    this.now = options.now ?? wallClock
    this.#slots = slots
    this.#worker = worker
    this.#settings = options
    this.#limit = this.#limitOf(options)
    this.#reach = () => slots.limit * this.#settings.queueTimeout * REACH
    const tags = new SharedTags(options.tags, slots, upstream, this.#reach, this.now)
    const costOf = (company: string): number => this.#costs.get(company) ?? (slots.meanCost || UNKNOWN_COST)
    const settings = (): GateSettings => this.#settings
    const bounds = {
      get size() {
        return settings().queueSize
      },
      get timeout() {
        return settings().queueTimeout
      },
      costOf,
    }
    this.#queue = new FairQueue(bounds, tags)
    this.#streams = new Streams(
      {
        slots,
        worker,
        most: () => this.#most,
        charge: (company, weight, held) => this.#queue.correct(company, weight, held),
      },
      options.streamsLend,
    )
    this.#looks = { deadline: 0, expire: () => this.#look() }
    if (slots.workers > 1) this.#unlisten = slots.onWoken(worker, () => this.#serve())
  }

  /** Nobody will come any more; one who does all the same is found by the sweep. */
  close(): void {
    this.#unlisten()
  }

  /** Other settings hold from now on, for those that wait already as well. */
  change(settings: GateSettings): void {
    if (isDeepStrictEqual(settingsOf(this.#settings), settings)) return
    this.#settings = settings
    this.#limit = this.#limitOf(settings)
    this.#streams.lends = settings.streamsLend
    this.#streams.look(this.now())
    this.#serve()
  }

  #limitOf({ concurrency }: GateSettings): AdaptiveLimit | null {
    const slots = this.#slots
    const limit = typeof concurrency === 'number' ? null : new AdaptiveLimit(concurrency, slots.limitState)
    slots.limit = limit?.limit ?? (concurrency as number)
    return limit
  }

  /**
   * Takes a slot if there is one and nobody waits for it. Whoever has one gives it back with `leave`.
   * @returns how many requests the upstream works on now; 0: it takes no more, so `wait`
   */
  enter(): number {
    return this.#slots.waiting > 0 ? 0 : this.#slots.take(this.#worker)
  }

  /** Some slots are lent, but not to everybody: `enterFor` is the way in. */
  get lends(): boolean {
    return this.#slots.lent > 0
  }

  enterFor(company: string): number {
    return this.#slots.waiting > 0 ? 0 : this.#slots.take(this.#worker, this.#streams.lentTo(company))
  }

  /** One that has its slot goes on for long. It is known until the returned function is called, before `leave`. */
  keep(company: string, weight: number, moving: Moving, kind: StreamKind = 'answer'): () => void {
    const now = this.now()
    const stream = new Stream(company, weight, moving, now, kind)
    if (this.#streams.count === 0) {
      this.#looks.deadline = deadlineIn(LOOK_MS / 1000)
      watchDeadline(this.#looks)
    }
    this.#streams.add(stream, now)
    if (this.#slots.waiting > 0) this.#serve()
    return () => {
      this.#streams.remove(stream)
      if (this.#streams.count === 0) unwatchDeadline(this.#looks)
    }
  }

  #look(): void {
    this.#looks.deadline = deadlineIn(LOOK_MS / 1000)
    this.#streams.look(this.now())
    if (this.#slots.waiting > 0) this.#serve()
  }

  /** Slots that there may be at most. */
  get #most(): number {
    const { concurrency } = this.#settings
    return typeof concurrency === 'number' ? concurrency : concurrency.max
  }

  readonly leave = (): void => {
    this.#slots.give(this.#worker)
    if (this.#slots.waiting > 0) this.#serve()
  }

  /** Its turn, or its refusal, may come at once. */
  wait(waiting: Waiting): void {
    if (this.#queue.count === 0) watchDeadline(this)
    this.#queue.add(waiting)
    this.#tell()
    this.#serve()
  }

  giveUp(waiting: Waiting): void {
    this.#queue.remove(waiting)
    this.#tell()
  }

  /** One that waited has had its slot for `held` milliseconds, where its company was charged `charged`. */
  settle({ company, weight }: Waiting, charged: number, held: number): void {
    const slots = this.#slots
    const counts = Math.min(held, this.#reach())
    const before = this.#costs.get(company) ?? counts
    if (this.#costs.size >= MAX_COMPANIES) this.#costs.clear()
    this.#costs.set(company, before + (counts - before) * RECENT)
    slots.meanCost = slots.meanCost === 0 ? counts : slots.meanCost + (counts - slots.meanCost) * RECENT
    this.#queue.correct(company, weight, held - charged)
    this.#publish()
  }

  /** Whether one that has its slot may keep others out, should it take long: then `keep` has to know of it. */
  isBusy(inUse: number): boolean {
    return this.#settings.streamsLend && this.#isTelling(inUse)
  }

  /** Whether the answer to a request that entered as one of so many is to be measured. */
  measures(inUse: number): boolean {
    return this.#limit !== null && this.#isTelling(inUse)
  }

  #isTelling(inUse: number): boolean {
    return inUse >= this.#slots.limit * TELLING
  }

  /** @param latency milliseconds from the request to the head of its answer */
  observe(latency: number, inUse: number): void {
    const slots = this.#slots
    // Another thread is at it: one answer of many is not counted
    if (this.#limit === null || !slots.lock(this.#worker)) return
    try {
      this.#limit.observe(latency, inUse, this.now())
      slots.limit = this.#limit.limit
    } finally {
      slots.unlock()
    }
    if (slots.waiting > 0) this.#serve()
  }

  countRefused(): void {
    this.#slots.countRefused(this.#worker)
  }

  /** Seconds in which what this company has waiting is through. */
  retryAfter({ company, weight }: Waiting): number {
    const cost = this.#costs.get(company) ?? (this.#slots.meanCost || UNKNOWN_COST)
    const rivals = Math.max(1, this.#queue.weights / weight)
    const ahead = ((this.#queue.countOf(company) + 1) * cost * rivals) / this.#slots.limit
    return Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(ahead / 1000)))
  }

  /** Deadline of `deadlines.ts`: some may have waited for too long, and a thread that was called may not have come. */
  expire(): void {
    this.deadline = ALWAYS
    this.#queue.expire(this.now())
    this.#tell()
    this.#serve()
  }

  /** Gives free slots to those whose turn it is, here or in another thread. */
  #serve(): void {
    if (this.#turning) return
    this.#turning = true
    const slots = this.#slots
    while (slots.waiting > 0 && slots.free > 0) {
      const least = this.#publish()
      const other = slots.before(this.#worker, least, this.now())
      if (other !== NONE) {
        slots.wake(other, this.now())
        break
      }
      const company = this.#queue.nextCompany(this.#passedOver)
      if (company === null) break
      const inUse = slots.take(this.#worker, this.#lentTo(company))
      if (inUse === 0) break
      const { waiting, cost } = this.#queue.nextOf(company)
      this.#tell()
      waiting.onTurn(cost, inUse)
    }
    this.#turning = false
  }

  #lentTo(company: string): number {
    return this.lends ? this.#streams.lentTo(company) : 0
  }

  /** Where only lent slots are free, those to whom they are not lent. */
  get #passedOver(): PassedOver | null {
    return this.lends ? this.#isPassedOver : null
  }

  /** While no slot is free: not of the next one. The thread that frees it has to know for whom. */
  readonly #isPassedOver = (company: string): boolean => {
    const { lent, free } = this.#slots
    return Math.max(1, free) <= lent - this.#streams.lentTo(company)
  }

  #publish(): number {
    const least = this.#queue.least(this.#passedOver)
    this.#slots.publish(this.#worker, least)
    return least
  }

  /** Tells the other threads of how many wait here, and of the first of them. */
  #tell(): void {
    const { count } = this.#queue
    this.#publish()
    if (count === this.#counted) return
    this.#slots.count(this.#worker, count - this.#counted)
    this.#counted = count
    if (count === 0) unwatchDeadline(this)
    if (this.#slots.waiting === 0) this.#slots.idle()
  }
}

const settingsOf = ({ queueSize, queueTimeout, concurrency, streamsLend }: GateSettings): GateSettings => ({
  queueSize,
  queueTimeout,
  concurrency,
  streamsLend,
})
