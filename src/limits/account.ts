/**
 * One key of a rate or a quota as one worker sees it. The limit's state is in Redis; here are the permits that Redis has
 * leased to this process, what this worker owes it, and who waits for its answer.
 *
 * A request takes from the lease, in shared memory, and waits for nothing. Only without one it asks, and all that ask
 * while an answer is on its way ask together with the next call. When Redis is away the local share decides.
 *
 * A call is a **batch** with a number: what is owed, and what is wanted. One whose outcome nobody heard of is sent again
 * under its number before any other, so that what is owed counts once and what was granted is not lost.
 */

import type { CounterKey } from '../store/counter-key.ts'
import { DECLINED, type SharedCounters } from '../store/shared-counters.ts'
import type { Debtor, Ledger, Numbers } from './ledger.ts'
import type { Taken } from './meter.ts'
import { inTime, Waiting } from './waiting.ts'

/** How much of what is used at present a lease holds. */
export const LEASE_MS = 30
/** Permits that nobody takes go back after this. */
const IDLE_MS = 500
/** Those of a worker that died are forgotten after this. */
const LEASE_LIFE_MS = 10_000
/** Rates of use are measured over this time at least. */
const MEASURE_MS = 20
/** What Redis said is believed for so long where nothing is taken, only looked at. */
const FRESH_MS = 1_000
/** What it said to this worker is taken for what it said last, where permits are at hand: that spares a look. */
const RECENT_MS = 250
/** After Redis refused to run a script it is not asked again for so long. */
export const REFUSED_PAUSE_MS = 1_000
/** Another worker that refills the lease may take so long. */
const REFILL_MS = 100

export interface Batch {
  readonly number: number
  /** Units used that Redis has not counted; below zero: counted, and not used. */
  readonly owed: number
  /** Of them, what this process decided alone. */
  readonly local: number
  /** Milliseconds since 1970 of the first of them. */
  readonly since: number
  /** What `mark` said then. */
  readonly mark: string
  readonly want: number
  readonly least: number
  readonly waiting: readonly Waiting[]
}

export interface Answer {
  readonly granted: number
  /** As `Taken` means it, behind what was granted. */
  readonly level: number
}

export abstract class Account implements Debtor {
  protected readonly ledger: Ledger
  protected readonly counters: SharedCounters
  readonly #name: string
  readonly #lease: CounterKey
  #refused!: CounterKey
  readonly #refilling: CounterKey
  /** Permits at hand that are aimed at, and how few ask for more. */
  #target = 0
  #low = -1
  #used = 0
  #measuredAt = 0
  #rate = 0
  #owed = 0
  #local = 0
  #owedSince = 0
  #owedMark = ''
  #number = 0
  #waiting: Waiting[] = []
  /** On its way, or of unknown outcome. */
  #batch: Batch | null = null
  #call: Promise<void> | null = null
  /** Only this worker's own doing: another one may be refilling. */
  #refills = false
  #answeredAt = 0
  #notBefore = 0
  #seen = 0
  #seenAt = 0

  constructor(ledger: Ledger, name: string) {
    this.ledger = ledger
    this.counters = ledger.counters
    this.#name = name
    this.#lease = ledger.counters.key(`lease|${name}`)
    this.#refilling = ledger.counters.key(`refilling|${name}`)
  }

  /**
   * Another rule of this name holds from now on, of a plan that has changed or of another one.
   * @param terms what tells it from others: under each there are refusals of its own
   */
  protected setTerms(terms: string): void {
    this.#refused = this.counters.key(`refused|${this.#name}|${terms}`)
  }

  /** Permits that a lease may hold, however many are used. */
  protected abstract get leasable(): number
  protected abstract readonly script: 'limitRate' | 'limitQuota'
  protected abstract given(batch: Batch): (string | number)[]
  protected abstract read(answer: Numbers): Answer
  /** Where the state stood when it was heard of last: a debt is told with that of its beginning. */
  protected abstract get mark(): string
  /** Keeps for all workers what Redis said. */
  protected abstract tell(answer: Answer, now: number): void
  /** What it said, to this worker a moment ago or to any, less what is at hand. */
  protected abstract levelAt(now: number, atHand: number, fresh: boolean): number
  /** Milliseconds until so many units may be there, behind a level; 0: they are. */
  protected abstract waitFor(units: number, level: number, now: number): number
  /** How long a refusal holds before Redis is asked again. */
  protected abstract pauseAfter(wait: number): number
  /** Decides with this process' share of the limit. */
  protected abstract decide(amount: number, now: number): Taken
  /** Takes from the share what nobody knew before. */
  protected abstract chargeShare(amount: number, now: number): void
  /** Lets the share follow what is granted elsewhere, or given back. */
  protected abstract follow(amount: number, now: number): void
  protected abstract unfollow(amount: number, now: number): void
  /** Redis has counted what the share granted. */
  protected abstract counted(amount: number, now: number): void
  /** Whether what is owed makes no difference any more. */
  protected abstract outlived(now: number): boolean
  /** Whether Redis keeps what became of a batch. */
  protected abstract remembered(batch: Batch): boolean

  take(amount: number, now: number, waited: number): Taken | Promise<Taken> {
    if (amount === 0) return this.#look(now, waited)
    const units = Math.ceil(amount)
    const left = this.counters.draw(this.#lease, units, now)
    if (left === DECLINED) return this.#beyondLease(amount, now, waited)
    this.#used += units
    if (left <= this.#low) this.#refill(now)
    if (units !== amount) this.#owe(amount - units, now)
    return this.levelAt(now, left, now - this.#answeredAt < RECENT_MS)
  }

  giveBack(amount: number, now: number): void {
    this.unfollow(amount, now)
    const leasable = this.ledger.up && amount <= this.#target && Number.isInteger(amount)
    if (leasable && this.#put(amount, now)) return
    this.#owe(-amount, now)
  }

  charge(amount: number, now: number): void {
    if (this.ledger.up) this.follow(amount, now)
    else {
      this.chargeShare(amount, now)
      this.#local += amount
    }
    this.#owe(amount, now)
  }

  settle(): Promise<void> {
    if (Date.now() < this.#notBefore) {
      this.ledger.settleSoon(this)
      return Promise.resolve()
    }
    if (this.#call === null && (this.#batch !== null || this.#owes)) this.#send()
    return this.#call ?? Promise.resolve()
  }

  sweep(now: number, all: boolean): boolean {
    const atHand = this.counters.read(this.#lease, now)
    if (atHand !== this.#seen) {
      this.#seen = atHand
      this.#seenAt = now
    }
    if (!all && now - this.#seenAt < IDLE_MS) return true
    if (atHand > 0 && this.counters.draw(this.#lease, atHand, now) !== DECLINED) this.#owe(-atHand, now)
    return false
  }

  forget(now: number): boolean {
    const open = this.#batch !== null || this.#call !== null
    if (open || !this.outlived(now)) return false
    this.#owed = 0
    this.#local = 0
    return true
  }

  #beyondLease(amount: number, now: number, waited: number): Taken | Promise<Taken> {
    if (!this.#asks(now)) return this.#decide(amount, now)
    const until = this.counters.read(this.#refused, now)
    const wait = until + this.counters.epoch - now
    if (wait > 0) return -Math.max(wait, this.waitFor(1, this.levelAt(now, 0, false), now))
    return this.#wait(amount, now, waited)
  }

  /** Whether anything is left, taking nothing. */
  #look(now: number, waited: number): Taken | Promise<Taken> {
    if (!this.#asks(now)) return this.#decide(0, now)
    if (now - this.#answeredAt > FRESH_MS) return this.#wait(0, now, waited)
    return this.#judge(now)
  }

  #judge(now: number): Taken {
    const level = this.levelAt(now, 0, false)
    const wait = this.waitFor(0, level, now)
    return wait > 0 ? -wait : level
  }

  #asks(now: number): boolean {
    return this.ledger.up && now >= this.#notBefore
  }

  #decide(amount: number, now: number): Taken {
    this.ledger.cells.local.add(1)
    const taken = this.decide(amount, now)
    if (taken >= 0 && amount > 0) {
      this.#local += amount
      this.#owe(amount, now)
    }
    return taken
  }

  #wait(amount: number, now: number, waited: number): Promise<Taken> {
    this.ledger.cells.waits.add(1)
    return new Promise(resolve => {
      const waiting = new Waiting(amount, now, resolve)
      if (waited > 0)
        waiting.atMost(this.ledger.timeoutMs - waited, each => this.#decide(each.amount, each.now))
      this.#waiting.push(waiting)
      if (this.#call === null) this.#send()
    })
  }

  get #owes(): boolean {
    return this.#owed !== 0 || this.#local !== 0
  }

  #owe(amount: number, now: number): void {
    if (this.#owed === 0) {
      this.#owedSince = now
      this.#owedMark = this.mark
    }
    this.#owed += amount
    this.ledger.settleSoon(this)
  }

  /** The lease runs low: more of it, in the background, by one worker. */
  #refill(now: number): void {
    if (this.#call !== null || !this.#asks(now)) return
    if (this.counters.take(this.#refilling, 1, 1, now + REFILL_MS, now) === false) return
    this.#refills = true
    this.#send()
  }

  #send(): void {
    const again = this.#batch !== null
    const batch = this.#batch ?? this.#draw(Date.now())
    this.#batch = batch
    const asked = this.ledger.run(this.script, this.given(batch), late => this.#onLate(batch, late))
    this.#call = asked.then(answer => {
      this.#call = null
      if (answer === null) this.#onSilence(batch)
      else this.#onAnswer(batch, this.read(answer), again)
    })
  }

  /** All that is owed, and all that is wanted. */
  #draw(now: number): Batch {
    const waiting = this.#waiting
    this.#waiting = []
    this.#measure(now)
    let asked = 0
    let least = Number.POSITIVE_INFINITY
    for (const { units } of waiting) {
      asked += units
      least = Math.min(least, units)
    }
    const refill = this.#target > 0 && (this.#refills || asked > 0)
    const more = refill ? Math.max(0, this.#target - this.counters.read(this.#lease, now)) : 0
    const batch = {
      number: ++this.#number,
      owed: this.#owed,
      local: this.#local,
      since: this.#owed === 0 ? now : this.#owedSince,
      mark: this.#owed === 0 ? this.mark : this.#owedMark,
      want: asked + more,
      least: asked > 0 ? least : Math.min(1, more),
      waiting,
    }
    this.#owed = 0
    this.#local = 0
    return batch
  }

  #measure(now: number): void {
    const elapsed = now - this.#measuredAt
    if (elapsed < MEASURE_MS) return
    this.#rate = (this.#rate + this.#used / elapsed) / 2
    this.#used = 0
    this.#measuredAt = now
    this.#target = Math.floor(Math.min(this.#rate * LEASE_MS, this.leasable))
    this.#low = this.#target > 0 ? Math.floor(this.#target / 2) : -1
  }

  #onAnswer(batch: Batch, answer: Answer, again: boolean): void {
    const now = Date.now()
    this.#batch = null
    this.#answeredAt = now
    this.tell(answer, now)
    if (batch.local > 0) this.counted(batch.local, now)
    // Of a batch that was sent again nobody waits for what it was granted
    if (again && answer.granted > 0) this.#owe(-answer.granted, now)
    else this.#grant(batch, answer, now)
    this.#next()
  }

  #grant({ waiting }: Batch, { granted, level }: Answer, now: number): void {
    let left = granted
    if (granted > 0) this.follow(granted, now)
    for (const each of waiting) {
      if (each.done) continue
      if (each.units === 0) each.resolve(this.#judge(now))
      else if (each.units <= left) {
        left -= each.units
        this.#used += each.units
        if (each.units !== each.amount) this.#owe(each.amount - each.units, now)
        each.resolve(level)
      } else each.resolve(-Math.max(1, this.waitFor(each.units, level, now)))
    }
    this.#endRefill(now)
    if (left > 0 && !this.#put(left, now)) this.#owe(-left, now)
    const wait = this.waitFor(1, level, now)
    if (left === 0 && wait > 0) this.#refuseFor(this.pauseAfter(wait), now)
  }

  #refuseFor(pause: number, now: number): void {
    const until = Math.ceil(now + pause)
    this.counters.update(this.#refused, put, until - this.counters.epoch, 0, until, now)
  }

  #put(units: number, now: number): boolean {
    if (this.counters.add(this.#lease, units, now + LEASE_LIFE_MS, now) === null) return false
    this.#seen = -1
    this.ledger.sweepLater(this)
    return true
  }

  /** Nobody heard what became of it. Who waited is told by the local share. */
  #onSilence(batch: Batch): void {
    const now = Date.now()
    if (this.ledger.up) this.#notBefore = now + REFUSED_PAUSE_MS
    if (!this.remembered(batch)) {
      this.#batch = null
      if (batch.owed !== 0) this.#owe(batch.owed, now)
    } else this.#batch = { ...batch, want: 0, least: 0, waiting: [] }
    this.#endRefill(now)
    const waiting = [...batch.waiting, ...this.#waiting]
    this.#waiting = []
    for (const each of waiting) if (!each.done) each.resolve(this.#decide(each.amount, each.now))
    this.ledger.settleSoon(this)
  }

  /** It is heard of after all, and nobody waits any more for what was granted. */
  #onLate(batch: Batch, answer: Numbers): void {
    const forgotten = !this.remembered(batch)
    const waitsForIt = this.#batch?.number === batch.number && this.#call === null
    if (!forgotten && !waitsForIt) return
    const now = Date.now()
    const { granted } = this.read(answer)
    if (waitsForIt) this.#batch = null
    if (batch.local > 0) this.counted(batch.local, now)
    if (granted > 0) this.#owe(-granted, now)
  }

  #endRefill(now: number): void {
    if (!this.#refills) return
    this.#refills = false
    this.counters.reset(this.#refilling, now)
  }

  /** Who asked meanwhile has waited already: no longer than Redis may take, in all. */
  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) {
      if (this.#owes) this.ledger.settleSoon(this)
      return
    }
    this.#send()
    const { waiting } = this.#batch!
    inTime(waiting, this.ledger.timeoutMs, this.#call!, each => this.#decide(each.amount, each.now))
  }
}

const put = (_: number, value: number): number => value
