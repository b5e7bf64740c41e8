/** Where usage is kept for good, and how it is asked for. */

import type { UsageSums } from './account.ts'
import type { TotalRow } from './totals.ts'

export interface UsageBatch {
  /** Which gateway counted it: another for each start. */
  readonly instance: string
  /** Grows by one with each batch of an instance. The same batch may be sent again under the same number. */
  readonly sequence: number
  readonly rows: readonly TotalRow[]
}

export interface UsageStore {
  /**
   * Adds all of a batch, or nothing of it. Where that remains unknown, sending it again is harmless.
   * @throws when it was not written, or nobody knows
   */
  add(batch: UsageBatch): Promise<void>
  /** @throws when the store cannot be asked */
  read(query: UsageQuery): Promise<UsageRecord[]>
  close(): void
}

export const DIMENSIONS = ['day', 'company', 'route'] as const
export type Dimension = (typeof DIMENSIONS)[number]

export interface UsageQuery {
  /** The first and the last day, `YYYY-MM-DD`. */
  readonly from: string
  readonly to: string
  /** null: all; '': what had none. */
  readonly company: string | null
  readonly route: string | null
  /** What is told apart; the rest is summed up. */
  readonly by: readonly Dimension[]
}

/** One line of an answer: the dimensions that were asked for, and the sums. */
export interface UsageRecord extends UsageSums {
  readonly day?: string
  readonly company?: string
  readonly route?: string
}
