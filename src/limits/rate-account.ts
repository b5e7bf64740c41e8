/** A rate that several gateways share: GCRA in Redis, and beside it one of this process with its share of the rate. */

import type { CounterKey } from '../store/counter-key.ts'
import { Account, type Answer, type Batch, LEASE_MS } from './account.ts'
import type { Ledger, Numbers } from './ledger.ts'
import { PARTS, Pace, RateMeter } from './local-store.ts'
import type { Taken } from './meter.ts'
import type { RateRule } from './rules.ts'

/** Parts of what may come at once, of which a lease holds no more: of less than 128 nothing, which is exact. */
const PARTS_OF_BURST = 128
/** However much the rate earns in the time that a lease is for, it holds no more than this part of the burst. */
const MOST_OF_BURST = 1 / 8
/** A flood beyond the limit asks as often as this, unless the burst is so short that something would be lost. */
const PAUSE_MS = 10
const PAUSE_OF_BURST = 1 / 4
/** How long Redis remembers what became of a batch: it is sent again once Redis is back. */
const REMEMBERED_MS = 600_000
const KEPT_MS = 1_000

export class RateAccount extends Account {
  #rule: RateRule
  readonly #keys: readonly [string, string]
  readonly #told: CounterKey
  readonly #shareKey: CounterKey
  #leasable = 0
  #depthMs = 0
  #share: RateMeter
  #gateways = 1
  #aheadUntil = 0
  /** As Redis writes them: should it forget its state, it learns it from here. */
  #arrival = '0'
  #idle = '-1'

  constructor(ledger: Ledger, rule: RateRule, name: string) {
    super(ledger, `rate|${name}`)
    this.#rule = rule
    const key = ledger.keyOf('rate', name)
    this.#keys = [key, `${key}:${ledger.writer}`]
    this.#told = ledger.counters.key(`told|rate|${name}`)
    this.#shareKey = ledger.counters.key(`share|rate|${name}`)
    this.#share = this.#obey(rule)
  }

  /** Whoever has the account has it for a rule of one plan, which may say otherwise than that of another. */
  under(rule: RateRule): this {
    if (rule !== this.#rule) this.#share = this.#obey(rule)
    return this
  }

  #obey(rule: RateRule): RateMeter {
    this.#rule = rule
    this.#depthMs = rule.most * rule.interval
    const worth = Math.max(LEASE_MS / rule.interval, rule.most / PARTS_OF_BURST)
    this.#leasable = Math.floor(Math.min(worth, rule.most * MOST_OF_BURST))
    this.setTerms(`${rule.interval} ${rule.most}`)
    return this.#shareOf(this.#gateways)
  }

  protected get leasable(): number {
    return this.#leasable
  }

  protected readonly script = 'limitRate'

  protected given(batch: Batch): (string | number)[] {
    return [
      ...this.#keys,
      this.#rule.interval * 1000,
      this.#depthMs * 1000,
      batch.want,
      batch.least,
      batch.owed,
      Math.max(0, Date.now() - batch.since) * 1000,
      batch.number,
      this.remembered(batch) ? REMEMBERED_MS : 0,
      this.#arrival,
      batch.mark,
      0,
    ]
  }

  protected read(answer: Numbers): Answer {
    this.#arrival = String(answer[2])
    this.#idle = String(answer[3])
    return { granted: Number(answer[0]), level: Number(answer[1]) / 1000 }
  }

  protected get mark(): string {
    return this.#idle
  }

  protected remembered(batch: Batch): boolean {
    return batch.owed !== 0
  }

  protected tell({ level }: Answer, now: number): void {
    this.#aheadUntil = now + level
    const value = (now - this.counters.epoch + level) * PARTS
    this.counters.update(this.#told, put, value, 0, now + level + KEPT_MS, now)
  }

  protected levelAt(now: number, atHand: number, fresh: boolean): number {
    const until = fresh ? this.#aheadUntil : this.counters.read(this.#told, now) / PARTS + this.counters.epoch
    return Math.max(0, until - now - atHand * this.#rule.interval)
  }

  protected waitFor(units: number, level: number): number {
    return level + units * this.#rule.interval - this.#depthMs
  }

  protected pauseAfter(wait: number): number {
    return Math.max(wait, Math.min(PAUSE_MS, this.#depthMs * PAUSE_OF_BURST))
  }

  protected decide(amount: number, now: number): Taken {
    return this.#shareNow.take(amount, now)
  }

  protected chargeShare(amount: number, now: number): void {
    this.#shareNow.charge(amount, now)
  }

  protected follow(amount: number, now: number): void {
    this.#shareNow.follow(amount, now)
  }

  protected unfollow(amount: number, now: number): void {
    this.#shareNow.giveBack(amount, now)
  }

  protected counted(): void {}

  /** This process is within its share: were all others as well, Redis would find nothing owed. */
  protected outlived(now: number): boolean {
    return this.counters.read(this.#shareKey, now) / PARTS + this.counters.epoch <= now
  }

  /** The same state, read by as much as falls to each of the gateways that live. */
  get #shareNow(): RateMeter {
    const { count } = this.ledger.gateways
    if (count !== this.#gateways) {
      this.#gateways = count
      this.#share = this.#shareOf(count)
    }
    return this.#share
  }

  #shareOf(gateways: number): RateMeter {
    const { interval, most } = this.#rule
    const rule = { ...this.#rule, interval: interval * gateways, most: Math.max(1, most / gateways) }
    return new RateMeter(new Pace(rule, this.counters), this.#shareKey)
  }
}

const put = (_: number, value: number): number => value
