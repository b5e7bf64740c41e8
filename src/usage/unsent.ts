/**
 * What a gateway counted and could not hand over before its end, since Redis was away: kept in a file, and handed over at
 * the next start. Batches keep their numbers, so that one which Redis had taken after all counts once.
 */

import { randomUUID } from 'node:crypto'
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import * as z from 'zod'
import { Account } from './account.ts'
import type { UsageBatch, UsageStore } from './store.ts'

const count = z.number().nonnegative()
const row = z.strictObject({
  day: z.string().regex(/^\d{4}-\d\d-\d\d$/),
  company: z.string(),
  route: z.string(),
  requests: count,
  errors: count,
  refused: count,
  bytesIn: count,
  bytesOut: count,
  cost: count,
  upstreamSeconds: count,
})
const batches = z.array(
  z.strictObject({ instance: z.string(), sequence: z.int().positive(), rows: z.array(row) }),
)

export interface UnsentEvents {
  onDelivered(requests: number, file: string): void
  /** It stays where it is. */
  onUnreadable(file: string, error: unknown): void
}

export class Unsent {
  readonly #directory: string
  readonly #name: string
  readonly #extension: string
  readonly #events: UnsentEvents

  /** @param file each end of a gateway has one of its own beside it: `name.<id>.json` for `name.json` */
  constructor(file: string, events: UnsentEvents) {
    this.#directory = dirname(file)
    this.#extension = extname(file)
    this.#name = basename(file, this.#extension)
    this.#events = events
  }

  /**
   * @returns the file that they are in
   * @throws when it cannot be written
   */
  async keep(unsent: readonly UsageBatch[]): Promise<string> {
    const plain = unsent.map(({ instance, sequence, rows }) => ({
      instance,
      sequence,
      rows: rows.map(({ account: { day, company, route }, ...sums }) => ({ day, company, route, ...sums })),
    }))
    const file = join(this.#directory, `${this.#name}.${randomUUID()}${this.#extension}`)
    // Never half of it: another gateway may begin just now
    await writeFile(`${file}.tmp`, JSON.stringify(plain), { mode: 0o600 })
    await rename(`${file}.tmp`, file)
    return file
  }

  /**
   * Hands over what earlier gateways have left.
   * @throws when the store does not take it: everything stays, and may be tried again
   */
  async deliver(store: UsageStore): Promise<void> {
    for (const file of await this.#files()) {
      const unsent = await this.#read(file)
      if (unsent === null) continue
      for (const batch of unsent) await store.add(batch)
      await rm(file, { force: true })
      const requests = unsent.flatMap(({ rows }) => rows).reduce((sum, { requests }) => sum + requests, 0)
      this.#events.onDelivered(requests, file)
    }
  }

  async #files(): Promise<string[]> {
    const all = await readdir(this.#directory).catch(() => [])
    const isOne = (name: string): boolean =>
      name.startsWith(`${this.#name}.`) && name.endsWith(this.#extension) && name.split('.').length > 2
    return all.filter(isOne).map(name => join(this.#directory, name))
  }

  async #read(file: string): Promise<UsageBatch[] | null> {
    try {
      return batches.parse(JSON.parse(await readFile(file, 'utf8'))).map(({ instance, sequence, rows }) => ({
        instance,
        sequence,
        rows: rows.map(({ day, company, route, ...sums }) => ({
          account: new Account(day, company, route),
          ...sums,
        })),
      }))
    } catch (error) {
      // Another gateway has handed it over
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#events.onUnreadable(file, error)
      return null
    }
  }
}
