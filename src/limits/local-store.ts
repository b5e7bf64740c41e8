/** Limits that all workers of this process share, in shared memory: exact, and never waited for. */

import type { CounterKey } from '../store/counter-key.ts'
import { MAX_VALUE } from '../store/counter-table.ts'
import { DECLINED, type SharedCounters, type Step } from '../store/shared-counters.ts'
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

  constructor(counters: SharedCounters, slots: Slots, onQuota?: QuotaBegun) {
    this.#counters = counters
    this.#slots = slots
    this.#onQuota = onQuota
  }

  meter(rule: Rule, subject: string): Meter {
    const name = meterName(rule, subject)
    switch (rule.kind) {
      case 'rate':
        return new RateMeter(rule, this.#counters, this.#counters.key(name))
      case 'quota':
        return new QuotaMeter(rule, this.#counters, name, this.#onQuota)
      case 'slots':
        return new SlotMeter(rule, this.#slots, name)
    }
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
 * The value is the theoretical arrival time: the moment at which all that was granted will have been earned. A request
 * passes when that lies no further ahead than the burst allows.
 */
export class RateMeter implements Meter {
  readonly rule: RateRule
  readonly #counters: SharedCounters
  readonly #key: CounterKey
  readonly #interval: number
  readonly #depth: number

  constructor(rule: RateRule, counters: SharedCounters, key: CounterKey) {
    this.rule = rule
    this.#counters = counters
    this.#key = key
    this.#interval = rule.interval * PARTS
    this.#depth = Math.ceil(rule.most * this.#interval)
    this.#arrive = (arrival, earned, latest) => {
      const next = Math.max(arrival, latest - this.#depth) + earned
      return next > latest ? DECLINED : next
    }
  }

  readonly #arrive: Step

  take(amount: number, now: number): Taken {
    const counters = this.#counters
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * this.#interval)
    const value = counters.resume(
      this.#key,
      this.#arrive,
      earned,
      time + this.#depth,
      this.#lifeFrom(now),
      now,
    )
    if (value === null) return NO_ROOM
    if (value !== DECLINED) return (value - time) / PARTS
    const arrival = this.#arrivalWithin(time + this.#depth, now)
    const ahead = arrival + Math.max(1, earned) - time - this.#depth
    return -Math.max(1, Math.ceil(ahead / PARTS))
  }

  /**
   * Where nothing is charged afterwards no arrival lies beyond the latest that is granted, but for clocks of threads. One
   * that does is from before a clock was set back, or was granted under a slower rule: it would shut out for hours.
   */
  #arrivalWithin(latest: number, now: number): number {
    const counters = this.#counters
    const arrival = counters.read(this.#key, now)
    if (this.rule.unit !== 'requests' || arrival <= latest + KEPT_MS * PARTS) return arrival
    counters.update(this.#key, noLaterThan, 0, latest, this.#lifeFrom(now), now)
    return latest
  }

  giveBack(amount: number, now: number): void {
    this.#counters.release(this.#key, Math.round(amount * this.#interval), now)
  }

  charge(amount: number, now: number): void {
    const counters = this.#counters
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * this.#interval)
    const owed = Math.max(0, counters.read(this.#key, now) - time) + earned
    counters.update(this.#key, owe, earned, time, now + owed / PARTS, now)
  }

  /** Counts what was granted elsewhere, as far as the bound goes: what is owed beyond it was allowed. */
  follow(amount: number, now: number): void {
    const time = (now - this.#counters.epoch) * PARTS
    const earned = Math.round(amount * this.#interval)
    this.#counters.update(
      this.#key,
      (arrival, more, latest) => Math.min(Math.max(arrival, time) + more, Math.max(arrival, latest)),
      earned,
      time + this.#depth,
      this.#lifeFrom(now),
      now,
    )
  }

  /** An arrival time that is granted lies no further ahead than this; behind it the counter says nothing. */
  #lifeFrom(now: number): number {
    return now + this.#depth / PARTS
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

export class QuotaMeter implements Meter {
  readonly rule: QuotaRule
  readonly #parts: number
  readonly #counters: SharedCounters
  readonly #name: string
  readonly #onBegun: QuotaBegun | undefined
  #label = ''
  #key: CounterKey | null = null

  constructor(rule: QuotaRule, counters: SharedCounters, name: string, onBegun?: QuotaBegun) {
    this.rule = rule
    this.#onBegun = onBegun
    this.#parts = rule.unit === 'cost' ? COST_PARTS : 1
    this.#counters = counters
    this.#name = name
  }

  take(amount: number, now: number): Taken {
    const { end } = this.rule.windowAt(now)
    const parts = this.#parts
    const key = this.#keyAt(now)
    const used = this.#counters.update(
      key,
      within,
      Math.round(amount * parts),
      this.rule.most * parts,
      end + KEPT_MS,
      now,
    )
    if (used === null) return NO_ROOM
    return used === DECLINED ? -Math.max(1, end - now) : used / parts
  }

  giveBack(amount: number, now: number): void {
    this.#counters.release(this.#keyAt(now), Math.round(amount * this.#parts), now)
  }

  charge(amount: number, now: number): void {
    const { end } = this.rule.windowAt(now)
    const parts = Math.round(amount * this.#parts)
    this.#counters.update(this.#keyAt(now), beyond, parts, MAX_VALUE, end + KEPT_MS, now)
  }

  /** Every window has a counter of its own. */
  #keyAt(now: number): CounterKey {
    const { label, end } = this.rule.windowAt(now)
    if (this.#key === null || label !== this.#label) {
      this.#label = label
      this.#key = this.#counters.key(`${this.#name}|${label}`)
      this.#onBegun?.(this.#name, label, end)
    }
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
