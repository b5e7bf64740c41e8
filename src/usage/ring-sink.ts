import { setTimeout as delay } from 'node:timers/promises'
import type { Account, UsageSink } from './account.ts'
import { RingWriter } from './ring.ts'
import { Totals } from './totals.ts'

/** Between two looks whether the ring has room. */
const RETRY_MS = 5

/**
 * What a worker counts into. Where the ring is full, because the thread that reads it is held up, it sums up by itself
 * until there is room: only that is lost with it when it dies just then.
 */
export class RingSink implements UsageSink {
  readonly #ring: RingWriter
  readonly #waiting = new Totals()

  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new RingWriter(buffer)
  }

  add(
    account: Account,
    requests: number,
    errors: number,
    refused: number,
    bytesIn: number,
    bytesOut: number,
    cost: number,
    upstreamSeconds: number,
  ): void {
    if (this.#waiting.size > 0) this.retry()
    const ring = this.#ring
    if (ring.push(account, requests, errors, refused, bytesIn, bytesOut, cost, upstreamSeconds)) return
    this.#waiting.add(account, requests, errors, refused, bytesIn, bytesOut, cost, upstreamSeconds)
  }

  /** Hands over what had to wait, as far as there is room now. */
  retry(): void {
    this.#waiting.drain(row =>
      this.#ring.push(
        row.account,
        row.requests,
        row.errors,
        row.refused,
        row.bytesIn,
        row.bytesOut,
        row.cost,
        row.upstreamSeconds,
      ),
    )
  }

  /** Resolves when nothing waits any more. */
  async finish(): Promise<void> {
    for (this.retry(); this.#waiting.size > 0; this.retry()) await delay(RETRY_MS)
  }
}
