/**
 * The one place of a process where usage comes together and is written down. What was handed to the store is forgotten
 * only when the store says that it has it; until then the same batch is tried again, and what comes meanwhile is summed
 * up behind it.
 */

import { randomUUID } from 'node:crypto'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type { Logger } from 'pino'
import { Calendar } from '../limits/calendar.ts'
import type { RingReader } from './ring.ts'
import type { UsageBatch, UsageQuery, UsageRecord, UsageStore } from './store.ts'
import { Totals } from './totals.ts'
import type { Unsent } from './unsent.ts'

export interface LedgerOptions {
  readonly store: UsageStore
  /** Of the days that usage is counted by. */
  readonly timeZone: string
  /** Of the workers; none: this thread counts by itself, into `totals`. */
  readonly rings: readonly RingReader[]
  /** Seconds. */
  readonly flush: number
  readonly logger: Pick<Logger, 'error' | 'info' | 'warn'>
  /** Where the end keeps what the store did not take, and the beginning finds it; none: it is lost. */
  readonly unsent?: Unsent | null
}

/** Rows of one batch: it is written in one go, in the thread that may be serving. */
const ROWS_AT_A_TIME = 128
/** Between two looks into the rings, which would be full by and by. */
const DRAIN_MS = 100
/** What a store that is away gets to come back, when the gateway ends. */
const CLOSE_MS = 2_000
const CLOSE_RETRY_MS = 100

export class UsageLedger {
  readonly totals = new Totals()
  readonly timeZone: string
  readonly #days: Calendar
  readonly #options: LedgerOptions
  readonly #instance = randomUUID()
  readonly #timers: NodeJS.Timeout[] = []
  #sequence = 0
  /** Handed to the store, which has not said that it has it. */
  #batch: UsageBatch | null = null
  #flushing: Promise<boolean> = Promise.resolve(true)
  #busy = 0
  #failing = false
  #delivered = false
  #closed: Promise<void> | null = null

  constructor(options: LedgerOptions) {
    this.timeZone = options.timeZone
    this.#days = new Calendar('day', options.timeZone)
    this.#options = options
    const regularly = (milliseconds: number, work: () => void): void => {
      this.#timers.push(setInterval(work, milliseconds).unref())
    }
    if (options.rings.length > 0) regularly(DRAIN_MS, () => this.#drain())
    regularly(options.flush * 1000, () => {
      if (this.#busy === 0) void this.flush()
    })
  }

  /** `YYYY-MM-DD`, now. */
  get today(): string {
    return this.#days.at(Date.now()).label
  }

  /** Writes down all that has been counted up to now. @returns whether it could */
  flush(): Promise<boolean> {
    this.#busy++
    this.#flushing = this.#flushing.then(async () => {
      const written = await this.#write()
      this.#busy--
      return written
    })
    return this.#flushing
  }

  /** @throws when the store cannot be asked */
  read(query: UsageQuery): Promise<UsageRecord[]> {
    return this.#options.store.read(query)
  }

  /** Writes down the rest; where the store stays away, tells what is lost. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    const end = performance.now() + CLOSE_MS
    let written = await this.flush()
    while (!written && performance.now() < end) {
      await delay(CLOSE_RETRY_MS)
      written = await this.flush()
    }
    if (!written) await this.#keepUnsent()
    this.#options.store.close()
  }

  async #keepUnsent(): Promise<void> {
    const { logger, unsent } = this.#options
    const requests = this.#unwritten
    if (requests === 0) return
    try {
      if (!unsent) throw new Error('this store has no other place')
      const file = await unsent.keep(this.#unsent())
      logger.warn({ requests, file }, 'Usage is kept for the next start: it could not be written')
    } catch (error) {
      logger.error({ requests, error }, 'Usage is lost: it could not be written')
    }
  }

  /** All that is in hand, as the batches that it would have been written in. */
  #unsent(): UsageBatch[] {
    const batches = this.#batch === null ? [] : [this.#batch]
    while (this.totals.size > 0) batches.push(this.#batchOf(this.totals.take(ROWS_AT_A_TIME)))
    return batches
  }

  #batchOf(rows: UsageBatch['rows']): UsageBatch {
    return { instance: this.#instance, sequence: ++this.#sequence, rows }
  }

  get #unwritten(): number {
    const handed = this.#batch?.rows.reduce((sum, { requests }) => sum + requests, 0) ?? 0
    return handed + this.totals.requests
  }

  #drain(): void {
    for (const ring of this.#options.rings) ring.drain(this.totals)
  }

  async #write(): Promise<boolean> {
    this.#drain()
    try {
      await this.#deliverUnsent()
    } catch (error) {
      this.#tell(error)
      return false
    }
    // What comes meanwhile is for the next time: under load it would never end.
    for (let left = this.totals.size; this.#batch !== null || left > 0; ) {
      if (this.#batch === null) {
        const rows = this.totals.take(Math.min(left, ROWS_AT_A_TIME))
        left -= rows.length
        this.#batch = this.#batchOf(rows)
      }
      try {
        await this.#options.store.add(this.#batch)
      } catch (error) {
        this.#tell(error)
        return false
      }
      this.#batch = null
      if (left > 0) await nextTurn()
    }
    this.#tell(null)
    return true
  }

  /** Of earlier gateways, once. */
  async #deliverUnsent(): Promise<void> {
    if (this.#delivered) return
    await this.#options.unsent?.deliver(this.#options.store)
    this.#delivered = true
  }

  /** Once, when it begins and when it ends. */
  #tell(error: unknown): void {
    const failing = error !== null
    if (failing === this.#failing) return
    this.#failing = failing
    const { logger } = this.#options
    if (failing)
      logger.error(
        { error, requests: this.#unwritten },
        'Usage cannot be written: it is kept and tried again',
      )
    else logger.info('Usage is written again')
  }
}
