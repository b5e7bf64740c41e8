/** Limits that all workers of this process share, in shared memory: exact, and never waited for. */

import type { CounterKey } from '../store/counter-key.ts'
import { MAX_VALUE } from '../store/counter-table.ts'
import { DECLINED, type SharedCounters, type Step } from '../store/shared-counters.ts'
import type { CalendarWindow } from './calendar.ts'
import type { LimitStore, Meter, Taken } from './meter.ts'
import type { QuotaRule, RateRule, Rule, SlotRule } from './rules.ts'
import type { Slots } from './slots.ts'

/**
 * Times within rates are kept in parts of a millisecond since the table was made: 15 ns, so that rounding them to whole
 * numbers changes a rate of 100,000/s by less than 0.1 %. They fit for 4.3 years of one process.
 */
export const PARTS = 65_536
/** Kept a little beyond their end, for clocks of threads and of what is asked late. */
export const KEPT_MS = 1_000
/** Without room for another counter a limit lets pass: a table that is full must not be an outage. */
const NO_ROOM: Taken = 0

/** Told of each quota that somebody begins to use: its name, its day or month, and when that ends. */
export type QuotaBegun = (name: string, period: string, end: number) => void

export class LocalStore implements LimitStore {
  readonly #counters: SharedCounters
  readonly #slots: Slots
  readonly #onQuota: QuotaBegun | undefined
  readonly #paces = new WeakMap<RateRule, Pace>()
  readonly #allowances = new WeakMap<QuotaRule, Allowance>()

  constructor(counters: SharedCounters, slots: Slots, onQuota?: QuotaBegun) {
    this.#counters = counters
    this.#slots = slots
    this.#onQuota = onQuota
  }

  meter(rule: Rule, subject: string): Meter {
    const name = meterName(rule, subject)
    switch (rule.kind) {
      case 'rate':
        return new RateMeter(this.#paceOf(rule), this.#counters.key(name))
      case 'quota':
        return new QuotaMeter(this.#allowanceOf(rule), name)
      case 'slots':
        return new SlotMeter(rule, this.#slots, name)
    }
  }

  #paceOf(rule: RateRule): Pace {
    let pace = this.#paces.get(rule)
    if (pace === undefined) {
      pace = new Pace(rule, this.#counters)
      this.#paces.set(rule, pace)
    }
    return pace
  }

  #allowanceOf(rule: QuotaRule): Allowance {
    let allowance = this.#allowances.get(rule)
    if (allowance === undefined) {
      allowance = new Allowance(rule, this.#counters, this.#onQuota)
      this.#allowances.set(rule, allowance)
    }
    return allowance
  }
}

/**
 * Under what name something is counted. Two plans may have rules of one name and another kind, whose numbers have nothing in
 * common; of the same kind they share them.
 */
export function meterName(rule: Rule, subject: string): string {
  return `${rule.name}|${rule.kind === 'slots' ? rule.of : `${rule.kind} ${rule.unit}`}|${subject}`
}

/**
 * A rate as counters keep it, once for all whom its rule counts: meters are as many as tokens that are remembered, and
 * the less memory each has of its own, the less of it is far from the processor when its turn comes.
 */
export class Pace {
  readonly rule: RateRule
  readonly counters: SharedCounters
  /** Parts that pass for each unit, and for as many as may come at once. */
  readonly interval: number
  readonly depth: number
  readonly arrive: Step
  readonly follow: Step

  constructor(rule: RateRule, counters: SharedCounters) {
    this.rule = rule
    this.counters = counters
    this.interval = rule.interval * PARTS
    const depth = Math.ceil(rule.most * this.interval)
    this.depth = depth
    this.arrive = (arrival, earned, latest) => {
      const next = Math.max(arrival, latest - depth) + earned
      return next > latest ? DECLINED : next
    }
    this.follow = (arrival, earned, latest) =>
      Math.min(Math.max(arrival, latest - depth) + earned, Math.max(arrival, latest))
  }

  /** An arrival time that is granted lies no further ahead than this; behind it the counter says nothing. */
  lifeFrom(now: number): number {
    return now + this.depth / PARTS
  }
}

/**
 * The value is the theoretical arrival time: the moment at which all that was granted will have been earned. A request
 * passes when that lies no further ahead than the burst allows.
 */
export class RateMeter implements Meter {
  readonly #pace: Pace
  readonly #key: CounterKey

  constructor(pace: Pace, key: CounterKey) {
    this.#pace = pace
    this.#key = key
  }

  get rule(): RateRule {
    return this.#pace.rule
  }

  take(amount: number, now: number): Taken {
    const pace = this.#pace
    const { counters, depth } = pace
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * pace.interval)
    const value = counters.resume(this.#key, pace.arrive, earned, time + depth, pace.lifeFrom(now), now)
    if (value === null) return NO_ROOM
    if (value !== DECLINED) return (value - time) / PARTS
    const arrival = this.#arrivalWithin(time + depth, now)
    const ahead = arrival + Math.max(1, earned) - time - depth
    return -Math.max(1, Math.ceil(ahead / PARTS))
  }

  /**
   * Where nothing is charged afterwards no arrival lies beyond the latest that is granted, but for clocks of threads. One
   * that does is from before a clock was set back, or was granted under a slower rule: it would shut out for hours.
   */
  #arrivalWithin(latest: number, now: number): number {
    const pace = this.#pace
    const { counters } = pace
    const arrival = counters.read(this.#key, now)
    if (pace.rule.unit !== 'requests' || arrival <= latest + KEPT_MS * PARTS) return arrival
    counters.update(this.#key, noLaterThan, 0, latest, pace.lifeFrom(now), now)
    return latest
  }

  giveBack(amount: number, now: number): void {
    const { counters, interval } = this.#pace
    counters.release(this.#key, Math.round(amount * interval), now)
  }

  charge(amount: number, now: number): void {
    const { counters, interval } = this.#pace
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * interval)
    const owed = Math.max(0, counters.read(this.#key, now) - time) + earned
    counters.update(this.#key, owe, earned, time, now + owed / PARTS, now)
  }

  /** Counts what was granted elsewhere, as far as the bound goes: what is owed beyond it was allowed. */
  follow(amount: number, now: number): void {
    const pace = this.#pace
    const { counters } = pace
    const latest = (now - counters.epoch) * PARTS + pace.depth
    const earned = Math.round(amount * pace.interval)
    counters.update(this.#key, pace.follow, earned, latest, pace.lifeFrom(now), now)
  }
}

const noLaterThan: Step = (arrival, _, latest) => Math.min(arrival, latest)

/** @param time the moment from which something is owed at the earliest */
const owe: Step = (arrival, earned, time) => Math.min(Math.max(arrival, time) + earned, MAX_VALUE)

const within: Step = (used, amount, limit) => {
  const next = used + amount
  // Asked with 0, a quota that is used up says so
  return next > limit || used >= limit ? DECLINED : next
}

const beyond: Step = (used, amount) => used + amount

/** Counters are whole numbers, costs need not be. */
const COST_PARTS = 1_000

/** A quota as counters keep it, once for all whom its rule counts. */
class Allowance {
  readonly rule: QuotaRule
  readonly counters: SharedCounters
  readonly parts: number
  readonly most: number
  readonly onBegun: QuotaBegun | undefined

  constructor(rule: QuotaRule, counters: SharedCounters, onBegun: QuotaBegun | undefined) {
    this.rule = rule
    this.counters = counters
    this.parts = rule.unit === 'cost' ? COST_PARTS : 1
    this.most = rule.most * this.parts
    this.onBegun = onBegun
  }
}

class QuotaMeter implements Meter {
  readonly #allowance: Allowance
  readonly #name: string
  #window: CalendarWindow | null = null
  #key: CounterKey | null = null

  constructor(allowance: Allowance, name: string) {
    this.#allowance = allowance
    this.#name = name
  }

  get rule(): QuotaRule {
    return this.#allowance.rule
  }

  take(amount: number, now: number): Taken {
    const { rule, counters, parts, most } = this.#allowance
    const window = rule.windowAt(now)
    const key = this.#keyOf(window)
    const used = counters.update(key, within, Math.round(amount * parts), most, window.end + KEPT_MS, now)
    if (used === null) return NO_ROOM
    return used === DECLINED ? -Math.max(1, window.end - now) : used / parts
  }

  giveBack(amount: number, now: number): void {
    const { rule, counters, parts } = this.#allowance
    counters.release(this.#keyOf(rule.windowAt(now)), Math.round(amount * parts), now)
  }

  charge(amount: number, now: number): void {
    const { rule, counters, parts } = this.#allowance
    const window = rule.windowAt(now)
    const used = Math.round(amount * parts)
    counters.update(this.#keyOf(window), beyond, used, MAX_VALUE, window.end + KEPT_MS, now)
  }

  /** Every window has a counter of its own. */
  #keyOf(window: CalendarWindow): CounterKey {
    return this.#key !== null && window === this.#window ? this.#key : this.#begin(window)
  }

  #begin(window: CalendarWindow): CounterKey {
    const { counters, onBegun } = this.#allowance
    const { label, end } = window
    if (this.#key === null || label !== this.#window?.label) {
      this.#key = counters.key(`${this.#name}|${label}`)
      onBegun?.(this.#name, label, end)
    }
    this.#window = window
    return this.#key
  }
}

/** Nobody knows when a slot will be free: worth another try after a moment. */
export const SLOT_RETRY_MS = 1_000

export class SlotMeter implements Meter {
  readonly rule: SlotRule
  readonly #slots: Slots
  readonly #name: string

  constructor(rule: SlotRule, slots: Slots, name: string) {
    this.rule = rule
    this.#slots = slots
    this.#name = name
  }

  take(_amount: number, now: number): Taken {
    const used = this.#slots.take(this.#name, this.rule.most, now)
    return used === DECLINED ? -SLOT_RETRY_MS : used
  }

  giveBack(_amount: number, now: number): void {
    this.#slots.giveBack(this.#name, now)
  }

  charge(): void {}
}
