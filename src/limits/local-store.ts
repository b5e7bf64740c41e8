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
/** An interval as a whole number: its logarithm to the base of 2, from 2^-64 ms on and to a millionth. */
const PACE_PARTS = 2 ** 20
const PACE_OFFSET = 64
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
        return new RateMeter(rule, this.#counters, this.#counters.key(name), this.#paceKeyOf(rule, name))
      case 'quota':
        return new QuotaMeter(rule, this.#counters, name, this.#onQuota)
      case 'slots':
        return new SlotMeter(rule, this.#slots, name)
    }
  }

  /** Of requests nothing is ever owed: what they take is known before. */
  #paceKeyOf({ unit }: RateRule, name: string): CounterKey | null {
    return unit === 'requests' ? null : this.#counters.key(`pace|${name}`)
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
  /** Under what interval is owed what lies beyond the bound; null: nothing is, or it is decided elsewhere. */
  readonly #paceKey: CounterKey | null
  readonly #pace: number
  readonly #interval: number
  readonly #depth: number

  constructor(rule: RateRule, counters: SharedCounters, key: CounterKey, paceKey: CounterKey | null = null) {
    this.rule = rule
    this.#counters = counters
    this.#key = key
    this.#paceKey = paceKey
    this.#pace = Math.round((Math.log2(rule.interval) + PACE_OFFSET) * PACE_PARTS)
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
    const value = counters.update(
      this.#key,
      this.#arrive,
      earned,
      time + this.#depth,
      this.#lifeFrom(now),
      now,
    )
    if (value === null) return NO_ROOM
    if (value !== DECLINED) return (value - time) / PARTS
    const arrival = this.#arrivalWithin(time, now)
    const ahead = arrival + Math.max(1, earned) - time - this.#depth
    return -Math.max(1, Math.ceil(ahead / PARTS))
  }

  /**
   * But for clocks of threads no arrival lies beyond the latest that is granted, unless something is owed. One that does
   * is from before a clock was set back, or was granted under a slower rule: it would shut out for hours.
   */
  #arrivalWithin(time: number, now: number): number {
    const counters = this.#counters
    const latest = time + this.#depth
    const arrival = counters.read(this.#key, now)
    if (arrival <= latest + KEPT_MS * PARTS) return arrival
    const pace = this.#paceOfDebt(now)
    if (pace > 0) return pace > this.#pace ? this.#shorten(arrival, pace, time, now) : arrival
    counters.update(this.#key, noLaterThan, 0, latest, this.#lifeFrom(now), now)
    return latest
  }

  /** 0: nothing is owed. */
  #paceOfDebt(now: number): number {
    if (this.#paceKey !== null) return this.#counters.read(this.#paceKey, now)
    return this.rule.unit === 'requests' ? 0 : this.#pace
  }

  /** What is owed under a slower rule is as many units of this one: one thread sees to that, and the time is gone. */
  #shorten(arrival: number, pace: number, time: number, now: number): number {
    const counters = this.#counters
    if (counters.update(this.#paceKey!, swap, this.#pace, pace, now, now) === DECLINED) return arrival
    const part = 2 ** ((this.#pace - pace) / PACE_PARTS)
    return counters.update(this.#key, shortened, part, time, now, now) ?? arrival
  }

  giveBack(amount: number, now: number): void {
    this.#counters.release(this.#key, Math.round(amount * this.#interval), now)
  }

  charge(amount: number, now: number): void {
    const counters = this.#counters
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * this.#interval)
    const owed = Math.max(0, this.#arrivalWithin(time, now) - time) + earned
    const until = now + owed / PARTS
    counters.update(this.#key, owe, earned, time, until, now)
    if (owed > this.#depth && this.#paceKey !== null)
      counters.update(this.#paceKey, fastest, this.#pace, 0, until, now)
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

const shortened: Step = (arrival, part, time) => time + Math.max(0, arrival - time) * part

const swap: Step = (current, next, before) => (current === before ? next : DECLINED)

/** A debt is shortened for the fastest of the rules under which it was made: going to and fro must not lessen it. */
const fastest: Step = (current, pace) => (current === 0 ? pace : Math.min(current, pace))

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
