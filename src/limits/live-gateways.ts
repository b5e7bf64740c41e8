/** How many gateways share the limits: each says now and then that it lives, and is told how many do. */

import type { Ledger } from './ledger.ts'

const BEAT_MS = 1_000
/** A gateway that was not heard of for so long has died. */
export const LIFE_MS = 10_000
/** Fewer count only when they stay fewer: a Redis that was started anew hears of all of them within this time. */
const DOUBT_MS = 5_000
const REMEMBERED_MS = 365 * 86_400_000

export class LiveGateways {
  readonly #ledger: Ledger
  readonly #timer: NodeJS.Timeout
  readonly #id: string
  #count = 1
  #fewerSince = 0

  constructor(ledger: Ledger) {
    this.#ledger = ledger
    const { tag, second, third } = ledger.counters.key('this gateway')
    // Hashed with the seed of this process: the same in all its workers, and in no other process
    this.#id = [tag, second, third].map(word => (word >>> 0).toString(36)).join('-')
    this.#timer = setInterval(() => void this.beat(), BEAT_MS)
    this.#timer.unref()
  }

  /** As many as were heard of last. */
  get count(): number {
    return this.#count
  }

  /** One worker speaks for the process, and all read what it was told. */
  async beat(): Promise<void> {
    const { counters, up } = this.#ledger
    const now = Date.now()
    const key = counters.key('live gateways')
    const mine = counters.take(counters.key('heartbeat'), 1, 1, now + BEAT_MS * 0.8, now)
    if (up && mine !== false) {
      const answer = await this.#ledger.run('limitGateways', [this.#key, this.#id, LIFE_MS])
      const count = Number(answer?.[0] ?? 0)
      if (count > 0) counters.update(key, (_, told) => told, count, 0, now + REMEMBERED_MS, now)
    }
    this.#adopt(counters.read(key, now), now)
  }

  async leave(): Promise<void> {
    this.close()
    if (this.#ledger.up) await this.#ledger.run('limitGateways', [this.#key, this.#id, 0])
  }

  close(): void {
    clearInterval(this.#timer)
  }

  get #key(): string {
    return this.#ledger.keyOf('', 'gateways')
  }

  #adopt(told: number, now: number): void {
    if (told >= this.#count || told === 0) this.#fewerSince = 0
    else if (this.#fewerSince === 0) this.#fewerSince = now
    if (told > this.#count || (this.#fewerSince > 0 && now - this.#fewerSince >= DOUBT_MS)) {
      this.#count = told
      this.#fewerSince = 0
    }
  }
}
