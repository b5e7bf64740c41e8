import type { Account, UsageSink, UsageSums } from './account.ts'

export interface TotalRow extends UsageSums {
  readonly account: Account
}

/** Sums by account. They take room by the number of accounts, however many requests there are and however long they wait. */
export class Totals implements UsageSink {
  readonly #rows = new Map<string, TotalRow>()

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
    const row = this.#rows.get(account.key)
    if (row === undefined) {
      const first = { account, requests, errors, refused, bytesIn, bytesOut, cost, upstreamSeconds }
      this.#rows.set(account.key, first)
      return
    }
    row.requests += requests
    row.errors += errors
    row.refused += refused
    row.bytesIn += bytesIn
    row.bytesOut += bytesOut
    row.cost += cost
    row.upstreamSeconds += upstreamSeconds
  }

  /** Accounts with something counted. */
  get size(): number {
    return this.#rows.size
  }

  get requests(): number {
    let sum = 0
    for (const row of this.#rows.values()) sum += row.requests
    return sum
  }

  /** Removes rows in the order in which they came, as long as `taken` says that it took them. */
  drain(taken: (row: TotalRow) => boolean): void {
    for (const [key, row] of this.#rows) {
      if (!taken(row)) return
      this.#rows.delete(key)
    }
  }

  /** Removes `most` rows or fewer. */
  take(most: number): TotalRow[] {
    const rows: TotalRow[] = []
    this.drain(row => rows.length < most && rows.push(row) > 0)
    return rows
  }
}
