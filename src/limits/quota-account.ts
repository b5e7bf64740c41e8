/** One window of a quota that several gateways share: counted in Redis, and of what is left a share is this process'. */

import type { CounterKey } from '../store/counter-key.ts'
import type { Step } from '../store/shared-counters.ts'
import { DECLINED } from '../store/shared-counters.ts'
import { Account, type Answer, type Batch } from './account.ts'
import type { CalendarWindow } from './calendar.ts'
import type { Ledger, Numbers } from './ledger.ts'
import { KEPT_MS } from './local-store.ts'
import type { Taken } from './meter.ts'
import type { QuotaRule } from './rules.ts'

/** Parts of what is left, of which a lease holds no more: near its end, nothing, which is exact. */
const PARTS_OF_REST = 128
/** Something may be given back, or a limit of the configuration be raised. */
const PAUSE_MS = 250
/** How long Redis remembers what became of a batch: it is sent again once Redis is back. */
const REMEMBERED_MS = 600_000
/** For what is told after the window has ended. */
const LATE_MS = 3_600_000

export class QuotaAccount extends Account {
  #rule: QuotaRule
  readonly #end: number
  readonly #keys: readonly [string, string]
  readonly #told: CounterKey
  readonly #away: CounterKey
  /** What Redis said last, and of which state of its own. */
  #known = '0'
  #state = ''
  #used = 0

  constructor(ledger: Ledger, rule: QuotaRule, name: string, { label, end }: CalendarWindow) {
    super(ledger, `quota|${name}|${label}`)
    this.#rule = rule
    this.#end = end
    const key = ledger.keyOf('quota', `${name}|${label}`)
    this.#keys = [key, `${key}:${ledger.writer}`]
    this.#told = ledger.counters.key(`told|quota|${name}|${label}`)
    this.#away = ledger.counters.key(`away|quota|${name}|${label}`)
    this.setTerms(String(rule.most))
  }

  /** Whoever has the account has it for a rule of one plan, which may say otherwise than that of another. */
  under(rule: QuotaRule): this {
    if (rule !== this.#rule) {
      this.#rule = rule
      this.setTerms(String(rule.most))
    }
    return this
  }

  protected get leasable(): number {
    const rest = this.#rule.most - this.counters.read(this.#told, Date.now())
    return Math.max(0, Math.floor(rest / PARTS_OF_REST))
  }

  protected readonly script = 'limitQuota'

  protected given(batch: Batch): (string | number)[] {
    return [
      ...this.#keys,
      this.#rule.most,
      batch.want,
      batch.least,
      batch.owed,
      this.#known,
      this.#state,
      batch.number,
      REMEMBERED_MS,
      this.#end + LATE_MS,
    ]
  }

  protected read(answer: Numbers): Answer {
    this.#known = String(answer[1])
    this.#state = String(answer[2])
    return { granted: Number(answer[0]), level: Number(answer[1]) }
  }

  protected get mark(): string {
    return ''
  }

  protected remembered(): boolean {
    return true
  }

  protected tell({ level }: Answer, now: number): void {
    this.#used = level
    this.counters.update(this.#told, put, level, 0, this.#end + KEPT_MS, now)
  }

  protected levelAt(now: number, atHand: number, fresh: boolean): number {
    return Math.max(0, (fresh ? this.#used : this.counters.read(this.#told, now)) - atHand)
  }

  protected waitFor(units: number, level: number, now: number): number {
    const full = units === 0 ? level >= this.#rule.most : level + units > this.#rule.most
    return full ? Math.max(1, this.#end - now) : 0
  }

  protected pauseAfter(): number {
    return PAUSE_MS
  }

  /** Of what was left when Redis was heard of last, each gateway has as much as every other. */
  protected decide(amount: number, now: number): Taken {
    const known = this.counters.read(this.#told, now)
    const share = Math.max(0, (this.#rule.most - known) / this.ledger.gateways.count)
    const used = this.counters.update(this.#away, within, amount, share, this.#end + KEPT_MS, now)
    if (used === null) return known
    return used === DECLINED ? -Math.max(1, this.#end - now) : known + used
  }

  protected chargeShare(amount: number, now: number): void {
    this.counters.add(this.#away, Math.round(amount), this.#end + KEPT_MS, now)
  }

  protected follow(): void {}

  protected unfollow(): void {}

  protected outlived(now: number): boolean {
    return now > this.#end + LATE_MS
  }

  protected counted(amount: number, now: number): void {
    this.counters.release(this.#away, amount, now)
  }
}

const put: Step = (_, value) => value

const within: Step = (used, amount, share) => {
  const next = used + amount
  return next > share || used >= share ? DECLINED : next
}
