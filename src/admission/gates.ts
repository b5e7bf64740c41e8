/** The gates of one thread: one for each upstream that has a fair queue, whichever routes lead to it. */

import type { FairQueueConfig, GatewayConfig } from '../config/schema.ts'
import { Admission } from './admission.ts'
import { Gate } from './gate.ts'
import { queuedUpstreams } from './queued.ts'
import type { Slots } from './slots.ts'

/** The place of a thread in what all threads share. */
export interface AdmissionSeat {
  readonly admission: Admission
  readonly worker: number
  /**
   * What the thread has made of it, by the keys of upstreams: for as long as their slots are kept, so that one that comes
   * back goes on with those who wait there.
   */
  readonly gates: Map<string, { readonly gate: Gate; readonly slots: Slots }>
}

/** @returns gates by the keys of their upstreams, and what makes those that were there before obey these settings */
export function gatesOf(
  config: GatewayConfig,
  { admission, worker, gates: made }: AdmissionSeat,
): { readonly gates: ReadonlyMap<string, Gate>; readonly takeOver: () => void } {
  const queued = queuedUpstreams(config)
  for (const [key, { gate, slots }] of made) {
    const shared = admission.at(key)
    if (shared === null ? queued.has(key) : shared.slots === slots) continue
    gate.close()
    made.delete(key)
  }
  const gates = new Map<string, Gate>()
  for (const [key, { settings }] of queued) {
    let known = made.get(key)
    if (known === undefined) {
      const own = admission.at(key)
      const { slots, tags } = own ?? Admission.create(new Map([[key, queued.get(key)!]]), 1).at(key)!
      const options = { upstream: key, slots, tags, worker: own === null ? 0 : worker }
      known = { gate: new Gate({ ...options, ...gateSettings(settings) }), slots }
      made.set(key, known)
    }
    gates.set(key, known.gate)
  }
  return {
    gates,
    takeOver() {
      for (const [key, { settings }] of queued) gates.get(key)!.change(gateSettings(settings))
    },
  }
}

function gateSettings(settings: FairQueueConfig) {
  const { concurrency, minConcurrency, maxConcurrency, queueSize, queueTimeout, streams } = settings
  return {
    queueSize,
    queueTimeout: queueTimeout * 1000,
    streamsLend: (streams ?? (concurrency === 'adaptive' ? 'lend' : 'hold')) === 'lend',
    concurrency: concurrency === 'adaptive' ? { min: minConcurrency, max: maxConcurrency } : concurrency,
  }
}
