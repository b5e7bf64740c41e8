import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { SUMS } from './account.ts'
import { inTransaction, openDatabase, openToRead } from './database.ts'
import { dayAfter } from './day.ts'
import { QuotaTable } from './quota-table.ts'
import type { UsageBatch, UsageQuery, UsageRecord, UsageStore } from './store.ts'

const ADD = `
  INSERT INTO usage (day, company, route, ${SUMS.join(', ')}) VALUES (?, ?, ?${', ?'.repeat(SUMS.length)})
  ON CONFLICT DO UPDATE SET ${SUMS.map(name => `${name} = ${name} + excluded.${name}`).join(', ')}`

/** Usage in a file of this machine. A commit either happened or did not: the number of a batch is not needed. */
export class SqliteStore implements UsageStore {
  readonly quotas: QuotaTable
  readonly #database: DatabaseSync
  readonly #keep: number
  #add: StatementSync | null = null
  /** The last day of which something was written: with another one what is too old goes. */
  #day = ''

  /** @param keep days that rows are kept */
  private constructor(database: DatabaseSync, keep: number) {
    this.#database = database
    this.#keep = keep
    this.quotas = new QuotaTable(database)
  }

  /** @throws when the file cannot be used */
  static async open(file: string, keep: number): Promise<SqliteStore> {
    return new SqliteStore(await openDatabase(file), keep)
  }

  /** To read only: nothing is added or pruned. */
  static async openToRead(file: string): Promise<SqliteStore> {
    return new SqliteStore(await openToRead(file), Number.POSITIVE_INFINITY)
  }

  async add({ rows }: UsageBatch): Promise<void> {
    this.#add ??= this.#database.prepare(ADD)
    const add = this.#add
    const latest = rows.reduce((day, { account }) => (account.day > day ? account.day : day), this.#day)
    inTransaction(this.#database, () => {
      for (const { account, ...sums } of rows)
        add.run(account.day, account.company, account.route, ...SUMS.map(name => sums[name]))
      if (latest !== this.#day) this.#prune(latest)
    })
    this.#day = latest
  }

  #prune(today: string): void {
    this.#database.prepare('DELETE FROM usage WHERE day <= ?').run(dayAfter(today, -this.#keep))
  }

  async read({ from, to, company, route, by }: UsageQuery): Promise<UsageRecord[]> {
    const conditions = ['day BETWEEN ? AND ?']
    const values = [from, to]
    for (const [column, value] of [
      ['company', company],
      ['route', route],
    ] as const) {
      if (value === null) continue
      conditions.push(`${column} = ?`)
      values.push(value)
    }
    const dimensions = by.join(', ')
    const sums = SUMS.map(name => `SUM(${name}) AS ${name}`).join(', ')
    const text = `SELECT ${dimensions}, ${sums} FROM usage WHERE ${conditions.join(' AND ')} GROUP BY ${dimensions} ORDER BY ${dimensions}`
    return this.#database.prepare(text).all(...values) as unknown as UsageRecord[]
  }

  close(): void {
    this.#database.close()
  }
}
