import type { Admission } from '../admission/admission.ts'

/** One upstream with a fair queue, in all workers together. */
export interface UpstreamDescription {
  readonly name: string
  /** Requests that it is given at a time. */
  readonly limit: number
  readonly in_use: number
  /** Of those in use, by streams: others may have them as well. */
  readonly lent: number
  readonly waiting: number
  /** Since the start. */
  readonly refused: number
}

/** The upstreams that requests may have to wait for, for people and for monitoring. */
export function describeUpstreams({ view }: Admission): UpstreamDescription[] {
  return view.map(({ name, limit, inUse, lent, waiting, refused }) => ({
    name,
    limit,
    in_use: inUse,
    lent,
    waiting,
    refused,
  }))
}
