/** What the accounts of one worker have in common: the way to Redis, the memory of the process, and when debts are paid. */

import { randomBytes } from 'node:crypto'
import { type RedisLink, RedisUnavailable } from '../redis/link.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import type { Cell } from '../store/worker-counters.ts'
import { LiveGateways } from './live-gateways.ts'
import { ANSWERS, type ScriptClient, withScripts } from './redis-scripts.ts'
import type { Slots } from './slots.ts'

/** What is counted for whoever operates the gateway. */
export interface LedgerCells {
  /** Decided by this process alone, since Redis was away. */
  readonly local: Cell
  /** Requests that waited for Redis. */
  readonly waits: Cell
  /** Scripts that Redis was asked to run. */
  readonly calls: Cell
  /** 1 while Redis answers. */
  readonly up: Cell
}

/** As Redis writes them: as text where they have more digits than an integer of its own. */
export type Numbers = readonly (string | number)[]

const isNumber = (value: unknown): boolean =>
  typeof value === 'number' || (typeof value === 'string' && value !== '' && Number.isFinite(Number(value)))

/** State of one key that has to be told to Redis, sooner or later. */
export interface Debtor {
  /** Tells it, unless that is under way; resolves when Redis has answered or is away. */
  settle(): Promise<void>
  /**
   * Gives up what lies idle and others could use.
   * @param all whatever is not in use, idle or not
   * @returns whether anything is left to look after
   */
  sweep(now: number, all: boolean): boolean
  /** Drops a debt that would make no difference any more, and says so. */
  forget(now: number): boolean
}

/** Time that debts gather before they are paid: each script pays all of its key. */
const GATHER_MS = 20
const SWEEP_MS = 100
/** While Redis is away, debts that make no difference any more go: else every address that ever came would be kept. */
const FORGET_MS = 1_000
/** Scripts on their way at a time: the last of them must not wait for longer than Redis may take. */
const AT_A_TIME = 64

export class Ledger {
  readonly counters: SharedCounters
  readonly slots: Slots
  readonly cells: LedgerCells
  readonly timeoutMs: number
  readonly gateways: LiveGateways
  /** Tells this worker from all others, of this gateway and of any. */
  readonly writer = randomBytes(9).toString('base64url')
  readonly #link: RedisLink
  readonly #scripts: ScriptClient
  readonly #onRefused: (reason: string) => void
  readonly #debtors = new Set<Debtor>()
  readonly #swept = new Set<Debtor>()
  #gathering: NodeJS.Timeout | null = null
  #paying = false
  #forgotAt = 0
  readonly #sweeping: NodeJS.Timeout

  constructor(
    link: RedisLink,
    counters: SharedCounters,
    slots: Slots,
    cells: LedgerCells,
    timeoutMs: number,
    onRefused: (reason: string) => void,
  ) {
    this.counters = counters
    this.slots = slots
    this.cells = cells
    this.timeoutMs = timeoutMs
    this.#link = link
    this.#scripts = withScripts(link.client)
    this.#onRefused = onRefused
    this.gateways = new LiveGateways(this)
    this.#sweeping = setInterval(() => this.#sweep(), SWEEP_MS)
    this.#sweeping.unref()
  }

  get up(): boolean {
    return this.#link.up
  }

  /** @param name keys of one name stand in one place of a cluster */
  keyOf(kind: string, name: string): string {
    return `${this.#link.prefix}${kind}{${name}}`
  }

  /**
   * Runs one script.
   * @param onLate told of an answer that nobody waited for any more
   * @returns its answer, or null: Redis is away, or would not run it. What it does may have been done all the same.
   */
  async run(
    script: keyof ScriptClient,
    given: readonly (string | number)[],
    onLate?: (answer: Numbers) => void,
  ): Promise<Numbers | null> {
    this.cells.calls.add(1)
    let call: Promise<Numbers> | null = null
    const ask = (): Promise<Numbers> => {
      call = this.#scripts[script](...given).then(answer => this.#checked(script, answer))
      return call
    }
    try {
      return await this.#link.run(ask)
    } catch (error) {
      if (onLate !== undefined) (call as Promise<Numbers> | null)?.then(onLate, () => {})
      if (!(error instanceof RedisUnavailable)) this.#onRefused((error as Error).message)
      return null
    }
  }

  /** A connection that is out of step, or something that is no Redis, must not decide anything. */
  #checked(script: keyof ScriptClient, answer: unknown): Numbers {
    const numbers = Array.isArray(answer) ? answer : [answer]
    if (numbers.length === ANSWERS[script] && numbers.every(isNumber)) return numbers
    this.#link.distrust()
    throw new RedisUnavailable('it does not answer what it is asked')
  }

  /** It owes something: to be told within a moment, or once Redis is back. */
  settleSoon(debtor: Debtor): void {
    this.#debtors.add(debtor)
    if (this.#gathering !== null || this.#paying || !this.up) return
    this.#gathering = setTimeout(() => {
      this.#gathering = null
      void this.settleAll()
    }, GATHER_MS)
    this.#gathering.unref()
  }

  sweepLater(debtor: Debtor): void {
    this.#swept.add(debtor)
  }

  /** Redis is back, perhaps without memory: it is told what is owed, and what is held. */
  async resume(): Promise<void> {
    for (const debtor of this.#swept) this.#debtors.add(debtor)
    await Promise.all([this.gateways.beat(), this.settleAll()])
  }

  /** All debts so far, while Redis takes them. */
  async settleAll(): Promise<void> {
    if (this.#paying) return
    this.#paying = true
    const debtors = [...this.#debtors]
    while (debtors.length > 0 && this.up) {
      const some = debtors.splice(-AT_A_TIME)
      for (const debtor of some) this.#debtors.delete(debtor)
      await Promise.all(some.map(debtor => debtor.settle()))
    }
    this.#paying = false
    // What came meanwhile
    for (const debtor of this.#debtors) return this.settleSoon(debtor)
  }

  /** What lies idle goes back, what is owed is paid, as far as Redis takes it. */
  async leave(): Promise<void> {
    const now = Date.now()
    for (const debtor of this.#swept) debtor.sweep(now, true)
    await Promise.all([this.settleAll(), this.gateways.leave()])
  }

  close(): void {
    clearInterval(this.#sweeping)
    if (this.#gathering !== null) clearTimeout(this.#gathering)
    this.gateways.close()
    this.#link.close()
  }

  #sweep(): void {
    const now = Date.now()
    for (const debtor of this.#swept) if (!debtor.sweep(now, false)) this.#swept.delete(debtor)
    if (this.up || now - this.#forgotAt < FORGET_MS) return
    this.#forgotAt = now
    for (const debtor of this.#debtors) if (debtor.forget(now)) this.#debtors.delete(debtor)
  }
}
