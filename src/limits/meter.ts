/** What a policy sees of limits: meters, each of one rule for one subject, whoever keeps its state. */

import type { Rule } from './rules.ts'

/**
 * What became of an attempt, as one number, since there are several for each request. Zero or more: granted, and the level
 * behind it (`rules.ts` says what that means). Below zero: refused, and the milliseconds after which another attempt may
 * succeed, negated.
 */
export type Taken = number

/** Amounts are in the unit of the rule; `now` in milliseconds since 1970, the same for all meters of one request. */
export interface Meter {
  readonly rule: Rule
  /**
   * Takes an amount if it is there. With 0 it asks whether anything is left.
   * @param waited milliseconds for which the request has waited for other limits already (0)
   */
  take(amount: number, now: number, waited?: number): Taken | Promise<Taken>
  /** Gives back what was granted: another rule refused the request, or a slot is free again. */
  giveBack(amount: number, now: number): void
  /** Counts what nobody knew when the request came, even beyond the limit: later requests then wait for it. */
  charge(amount: number, now: number): void
}

/** Keeps the state of limits. */
export interface LimitStore {
  /** @param subject whose, in a text that no other kind of subject can have */
  meter(rule: Rule, subject: string): Meter
}
