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
/** An interval as a whole number: its logarithm to the base of 2, from 2^-64 ms on and to a millionth. */
const TEMPO_PARTS = 2 ** 20
const TEMPO_OFFSET = 64
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
        return new RateMeter(this.#paceOf(rule), this.#counters.key(name), this.#debtKeyOf(rule, name))
      case 'quota':
        return new QuotaMeter(this.#allowanceOf(rule), name)
      case 'slots':
        return new SlotMeter(rule, this.#slots, name)
    }
  }

  /** Of requests nothing is ever owed: what they take is known before. */
  #debtKeyOf({ unit }: RateRule, name: string): CounterKey | null {
    return unit === 'requests' ? null : this.#counters.key(`pace|${name}`)
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
  /** The interval as a whole number. */
  readonly tempo: number
  readonly arrive: Step
  readonly follow: Step

  constructor(rule: RateRule, counters: SharedCounters) {
    this.rule = rule
    this.counters = counters
    this.interval = rule.interval * PARTS
    this.tempo = Math.round((Math.log2(rule.interval) + TEMPO_OFFSET) * TEMPO_PARTS)
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
  /** Under what tempo is owed what lies beyond the bound; null: nothing is, or it is decided elsewhere. */
  readonly #debtKey: CounterKey | null

  constructor(pace: Pace, key: CounterKey, debtKey: CounterKey | null = null) {
    this.#pace = pace
    this.#key = key
    this.#debtKey = debtKey
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
    const arrival = this.#arrivalWithin(time, now)
    const ahead = arrival + Math.max(1, earned) - time - depth
    return -Math.max(1, Math.ceil(ahead / PARTS))
  }

  /**
   * But for clocks of threads no arrival lies beyond the latest that is granted, unless something is owed. One that does
   * is from before a clock was set back, or was granted under a slower rule: it would shut out for hours.
   */
  #arrivalWithin(time: number, now: number): number {
    const pace = this.#pace
    const { counters } = pace
    const latest = time + pace.depth
    const arrival = counters.read(this.#key, now)
    if (arrival <= latest + KEPT_MS * PARTS) return arrival
    const tempo = this.#tempoOfDebt(now)
    if (tempo > 0) return tempo > pace.tempo ? this.#shorten(arrival, tempo, time, now) : arrival
    counters.update(this.#key, noLaterThan, 0, latest, pace.lifeFrom(now), now)
    return latest
  }

  /** 0: nothing is owed. */
  #tempoOfDebt(now: number): number {
    const { counters, rule, tempo } = this.#pace
    if (this.#debtKey !== null) return counters.read(this.#debtKey, now)
    return rule.unit === 'requests' ? 0 : tempo
  }

  /** What is owed under a slower rule is as many units of this one: one thread sees to that, and the time is gone. */
  #shorten(arrival: number, slower: number, time: number, now: number): number {
    const { counters, tempo } = this.#pace
    if (counters.update(this.#debtKey!, swap, tempo, slower, now, now) === DECLINED) return arrival
    const part = 2 ** ((tempo - slower) / TEMPO_PARTS)
    return counters.update(this.#key, shortened, part, time, now, now) ?? arrival
  }

  giveBack(amount: number, now: number): void {
    const { counters, interval } = this.#pace
    counters.release(this.#key, Math.round(amount * interval), now)
  }

  charge(amount: number, now: number): void {
    const { counters, interval, depth, tempo } = this.#pace
    const time = (now - counters.epoch) * PARTS
    const earned = Math.round(amount * interval)
    const owed = Math.max(0, this.#arrivalWithin(time, now) - time) + earned
    const until = now + owed / PARTS
    counters.update(this.#key, owe, earned, time, until, now)
    if (owed > depth && this.#debtKey !== null) counters.update(this.#debtKey, fastest, tempo, 0, until, now)
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
