import type { DatabaseSync } from 'node:sqlite'
import { inTransaction } from './database.ts'

export interface QuotaEntry {
  readonly key: string
  /** The calendar day or month, as whoever counts names it. */
  readonly period: string
  /** How much it is in all, not what was added; cost units may be fractions. */
  readonly used: number
}

/** How much of each quota is used, over restarts, in the file that has the usage. */
export class QuotaTable {
  readonly #database: DatabaseSync

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Key → used. */
  loadQuotas(period: string): Map<string, number> {
    const rows = this.#database.prepare('SELECT key, used FROM quotas WHERE period = ?').all(period)
    return new Map(rows.map(({ key, used }) => [String(key), Number(used)]))
  }

  /** Writes all of them, or none, over what is there. */
  saveQuotas(entries: readonly QuotaEntry[]): void {
    const save = this.#database.prepare(
      'INSERT INTO quotas (period, key, used) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used',
    )
    inTransaction(this.#database, () => {
      for (const { period, key, used } of entries) save.run(period, key, used)
    })
  }

  /** Forgets periods before this one: for periods of one kind, whose names sort by time. */
  pruneQuotas(before: string): void {
    this.#database
      .prepare('DELETE FROM quotas WHERE period < ? AND LENGTH(period) = LENGTH(?)')
      .run(before, before)
  }
}
