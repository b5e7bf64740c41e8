/** Paths of `limited.ts`, and what it can do. */

/** Below one that the gateway routes by default; `?takes=` says for how many milliseconds a request has its slot. */
export const WORK_PATH = '/api/v1/query/work'
export const GAUGE_PATH = '/gauge'

/** Requests that are worked on at a time. */
export const SLOTS = 40
/** How long one takes in the mean. */
export const MEAN_MILLISECONDS = 200
/** What it can do: 200 requests/s. */
export const CAPACITY = (SLOTS * 1000) / MEAN_MILLISECONDS

/** What the service says of itself; times in milliseconds, on its own clock, since it was started. */
export type Gauge = {
  at: number
  /** Time that slots were taken, all slots together. */
  slotTime: number
  answered: number
  /** Requests that wait inside for a slot. */
  waiting: number
}
