/**
 * How many things of one key run at a time over all gateways, as one worker sees it. Redis knows how many this worker may
 * have; what it has in use lies within. The state is said whole and again every few seconds, so nothing is lost by saying
 * it twice, and who stops saying it has died.
 */

import { DECLINED } from '../store/shared-counters.ts'
import { REFUSED_PAUSE_MS } from './account.ts'
import type { Debtor, Ledger, Numbers } from './ledger.ts'
import { LIFE_MS } from './live-gateways.ts'
import { SLOT_RETRY_MS } from './local-store.ts'
import type { Taken } from './meter.ts'
import type { SlotRule } from './rules.ts'
import { inTime, Waiting } from './waiting.ts'

const RENEWAL_MS = LIFE_MS / 4
/** Slots that are free for so long go back; near the limit, at once. */
const IDLE_MS = 500
const NEAR = 1 / 2
/** Parts of the limit, of which a worker has no more ahead of its use. */
const PARTS_AHEAD = 64
/** A flood beyond the limit asks as often as this. */
const PAUSE_MS = 20

export class SlotAccount implements Debtor {
  readonly #ledger: Ledger
  #rule: SlotRule
  readonly #name: string
  readonly #key: string
  #inUse = 0
  #granted = 0
  /** Over all gateways, as Redis said last. */
  #total = 0
  #number = 0
  #saidAt = 0
  #idleSince = 0
  #refusedUntil = 0
  #waiting: Waiting[] = []
  #call: Promise<void> | null = null
  #notBefore = 0

  constructor(ledger: Ledger, rule: SlotRule, name: string) {
    this.#ledger = ledger
    this.#rule = rule
    this.#name = name
    this.#key = ledger.keyOf('slots', name)
  }

  /** Whoever has the account has it for a rule of one plan, which may say otherwise than that of another. */
  under(rule: SlotRule): this {
    if (rule !== this.#rule) {
      this.#rule = rule
      this.#refusedUntil = 0
    }
    return this
  }

  take(now: number, waited: number): Taken | Promise<Taken> {
    if (!this.#ledger.up || now < this.#notBefore) return this.#decide(now)
    if (this.#inUse < this.#granted) return this.#use(this.#rule.most, now)
    if (now < this.#refusedUntil) return -SLOT_RETRY_MS
    this.#ledger.cells.waits.add(1)
    return new Promise(resolve => {
      const waiting = new Waiting(1, now, resolve)
      if (waited > 0) waiting.atMost(this.#ledger.timeoutMs - waited, each => this.#decide(each.now))
      this.#waiting.push(waiting)
      if (this.#call === null) this.#say()
    })
  }

  giveBack(now: number): void {
    this.#ledger.slots.giveBack(this.#name, now)
    this.#inUse--
    this.#idleSince = now
    this.#refusedUntil = 0
    if (this.#total > this.#rule.most * NEAR || !this.#ledger.up) this.#ledger.settleSoon(this)
  }

  settle(): Promise<void> {
    if (Date.now() < this.#notBefore) {
      this.#ledger.settleSoon(this)
      return Promise.resolve()
    }
    if (this.#call === null) this.#say()
    return this.#call!
  }

  forget(now: number): boolean {
    return this.#inUse === 0 && now - this.#saidAt > LIFE_MS
  }

  sweep(now: number, all: boolean): boolean {
    // Redis has forgotten by itself what this worker had
    if (this.forget(now)) this.#granted = 0
    const idle = this.#granted > this.#inUse && (all || now - this.#idleSince >= IDLE_MS)
    if (idle || now - this.#saidAt >= RENEWAL_MS) this.#ledger.settleSoon(this)
    return this.#granted > 0 || this.#inUse > 0
  }

  /** By the local share. What it grants Redis is told when it is back, be it beyond the limit. */
  #decide(now: number): Taken {
    this.#ledger.cells.local.add(1)
    const share = Math.max(1, Math.floor(this.#rule.most / this.#ledger.gateways.count))
    const taken = this.#use(share, now)
    if (taken >= 0) this.#ledger.settleSoon(this)
    return taken
  }

  /** All workers of the process count together, so that the share holds for all of them from the first moment. */
  #use(most: number, now: number): Taken {
    const used = this.#ledger.slots.take(this.#name, most, now)
    if (used === DECLINED) return -SLOT_RETRY_MS
    this.#inUse++
    this.#idleSince = now
    this.#ledger.sweepLater(this)
    return this.#ledger.up ? Math.max(used, this.#total - this.#granted + this.#inUse) : used
  }

  #say(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const { most } = this.#rule
    const near = this.#total > most * NEAR
    const ahead = near ? 0 : Math.min(this.#inUse, Math.floor(most / PARTS_AHEAD))
    const want = this.#inUse + waiting.length + ahead
    // What is given up must not be used while Redis hears of it
    this.#granted = Math.min(this.#granted, want)
    const given = [this.#key, this.#ledger.writer, most, want, this.#inUse, ++this.#number, LIFE_MS]
    const said = this.#ledger.run('limitSlots', given)
    this.#call = said.then(answer => {
      this.#call = null
      this.#hear(answer, waiting)
    })
  }

  #hear(answer: Numbers | null, waiting: readonly Waiting[]): void {
    const now = Date.now()
    if (answer === null) {
      if (this.#ledger.up) this.#notBefore = now + REFUSED_PAUSE_MS
      const all = [...waiting, ...this.#waiting]
      this.#waiting = []
      for (const each of all) if (!each.done) each.resolve(this.#decide(each.now))
      return this.#ledger.settleSoon(this)
    }
    this.#saidAt = now
    this.#granted = Number(answer[0])
    this.#total = Number(answer[1])
    for (const each of waiting) {
      if (each.done) continue
      if (this.#inUse < this.#granted) each.resolve(this.#use(this.#rule.most, now))
      else {
        this.#refusedUntil = now + PAUSE_MS
        each.resolve(-SLOT_RETRY_MS)
      }
    }
    this.#ledger.sweepLater(this)
    const next = this.#waiting
    if (next.length === 0) return
    this.#say()
    inTime(next, this.#ledger.timeoutMs, this.#call!, each => this.#decide(each.now))
  }
}
