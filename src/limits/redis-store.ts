/**
 * Limits that several gateways share through Redis. A request takes from what Redis has leased to its process; without a
 * lease it asks and waits for the answer, `redis.timeout` at most over all its limits; while Redis is away the share of its
 * process decides.
 */

import type { RedisConfig } from '../config/redis.ts'
import { RedisLink } from '../redis/link.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import type { CalendarWindow } from './calendar.ts'
import { Ledger, type LedgerCells } from './ledger.ts'
import { meterName } from './local-store.ts'
import type { LimitStore, Meter, Taken } from './meter.ts'
import { QuotaAccount } from './quota-account.ts'
import { RateAccount } from './rate-account.ts'
import type { QuotaRule, RateRule, Rule, SlotRule } from './rules.ts'
import { SlotAccount } from './slot-account.ts'
import type { Slots } from './slots.ts'

/** A Redis that comes and goes is told of once: it is back when it has stayed for so long. */
const STEADY_MS = 1_000

export interface RedisStoreOptions {
  readonly config: RedisConfig
  readonly counters: SharedCounters
  readonly slots: Slots
  readonly cells: LedgerCells
  readonly events: RedisStoreEvents
}

export interface RedisStoreEvents {
  onDown(reason: string): void
  onUp(): void
  /** Redis answers, and refuses what it is asked: limits are decided locally. */
  onRefused(reason: string): void
}

export class RedisStore implements LimitStore {
  readonly link: RedisLink
  readonly #ledger: Ledger
  readonly #accounts = new Registry()
  #steady: NodeJS.Timeout | undefined
  #told = true
  readonly #known = Promise.withResolvers<void>()

  constructor({ config, counters, slots, cells, events }: RedisStoreOptions) {
    this.link = new RedisLink(config, {
      onDown: reason => {
        cells.up.add(-cells.up.value)
        clearTimeout(this.#steady)
        if (this.#told) events.onDown(reason)
        this.#told = false
        this.#known.resolve()
      },
      onUp: () => {
        cells.up.add(1 - cells.up.value)
        void this.#ledger.resume()
        this.#known.resolve()
        if (this.#told) return
        this.#steady = setTimeout(() => {
          this.#told = true
          events.onUp()
        }, STEADY_MS)
        this.#steady.unref()
      },
    })
    this.#ledger = new Ledger(this.link, counters, slots, cells, config.timeout * 1000, events.onRefused)
  }

  /** Resolves when it is known for the first time whether Redis is there: requests before that are decided locally. */
  get known(): Promise<void> {
    return this.#known.promise
  }

  get up(): boolean {
    return this.#ledger.up
  }

  /** Gateways that share the limits, as far as is known. */
  get gateways(): number {
    return this.#ledger.gateways.count
  }

  meter(rule: Rule, subject: string): Meter {
    const name = meterName(rule, subject)
    switch (rule.kind) {
      case 'rate':
        return new RateMeter(
          rule,
          this.#accounts.of(`rate|${name}`, () => new RateAccount(this.#ledger, rule, name)),
        )
      case 'quota':
        return new QuotaMeter(rule, window =>
          this.#accounts.of(
            `quota|${name}|${window.label}`,
            () => new QuotaAccount(this.#ledger, rule, name, window),
          ),
        )
      case 'slots':
        return new SlotMeter(
          rule,
          this.#accounts.of(`slots|${name}`, () => new SlotAccount(this.#ledger, rule, name)),
        )
    }
  }

  /** Before the end: what lies idle goes back and what is owed is paid, if Redis is there. */
  leave(): Promise<void> {
    return this.#ledger.leave()
  }

  close(): void {
    clearTimeout(this.#steady)
    this.#ledger.close()
  }
}

/** One account for each key, for as long as anybody has it: a meter, or the ledger that it owes to. */
class Registry {
  readonly #accounts = new Map<string, WeakRef<object>>()
  readonly #ended = new FinalizationRegistry<string>(name => {
    if (this.#accounts.get(name)?.deref() === undefined) this.#accounts.delete(name)
  })

  /** @param name of one kind of account alone */
  of<T extends object>(name: string, make: () => T): T {
    const known = this.#accounts.get(name)?.deref()
    if (known !== undefined) return known as T
    const account = make()
    this.#accounts.set(name, new WeakRef(account))
    this.#ended.register(account, name)
    return account
  }
}

class RateMeter implements Meter {
  readonly rule: RateRule
  readonly #account: RateAccount

  constructor(rule: RateRule, account: RateAccount) {
    this.rule = rule
    this.#account = account
  }

  take(amount: number, now: number, waited = 0): Taken | Promise<Taken> {
    return this.#account.under(this.rule).take(amount, now, waited)
  }

  giveBack(amount: number, now: number): void {
    this.#account.under(this.rule).giveBack(amount, now)
  }

  charge(amount: number, now: number): void {
    this.#account.under(this.rule).charge(amount, now)
  }
}

/** Every window has an account of its own. */
class QuotaMeter implements Meter {
  readonly rule: QuotaRule
  readonly #accountOf: (window: CalendarWindow) => QuotaAccount
  #window: CalendarWindow | null = null
  #account: QuotaAccount | null = null

  constructor(rule: QuotaRule, accountOf: (window: CalendarWindow) => QuotaAccount) {
    this.rule = rule
    this.#accountOf = accountOf
  }

  take(amount: number, now: number, waited = 0): Taken | Promise<Taken> {
    return this.#at(now).take(amount, now, waited)
  }

  giveBack(amount: number, now: number): void {
    this.#at(now).giveBack(amount, now)
  }

  charge(amount: number, now: number): void {
    this.#at(now).charge(amount, now)
  }

  #at(now: number): QuotaAccount {
    const window = this.rule.windowAt(now)
    if (this.#account === null || window.label !== this.#window?.label) {
      this.#window = window
      this.#account = this.#accountOf(window)
    }
    return this.#account.under(this.rule)
  }
}

class SlotMeter implements Meter {
  readonly rule: SlotRule
  readonly #account: SlotAccount

  constructor(rule: SlotRule, account: SlotAccount) {
    this.rule = rule
    this.#account = account
  }

  take(_amount: number, now: number, waited = 0): Taken | Promise<Taken> {
    return this.#account.under(this.rule).take(now, waited)
  }

  giveBack(_amount: number, now: number): void {
    this.#account.giveBack(now)
  }

  charge(): void {}
}
