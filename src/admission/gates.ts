/** The gates of one thread: one for each upstream that has a fair queue, whichever routes lead to it. */

import type { FairQueueConfig, GatewayConfig } from '../config/schema.ts'
import { Admission } from './admission.ts'
import { Gate } from './gate.ts'
import { queuedUpstreams } from './queued.ts'

/** The place of a thread in what all threads share. */
export interface AdmissionSeat {
  readonly admission: Admission
  readonly worker: number
}

export type Gates = ReadonlyMap<string, Gate>

/**
 * @param before those of the gateway whose place this one takes: who waits there goes on waiting
 * @returns gates by the keys of their upstreams, and what makes those of before obey these settings
 */
export function gatesOf(
  config: GatewayConfig,
  seat: AdmissionSeat | undefined,
  before?: Gates,
): { readonly gates: Gates; readonly takeOver: () => void } {
  const queued = queuedUpstreams(config)
  const { admission, worker } = seat ?? { admission: Admission.create(queued, 1), worker: 0 }
  const gates = new Map<string, Gate>()
  for (const [key, { settings }] of queued) {
    const known = before?.get(key)
    if (known === undefined) {
      const own = admission.at(key)
      const { slots, tags } = own ?? Admission.create(new Map([[key, queued.get(key)!]]), 1).at(key)!
      const options = { upstream: key, slots, tags, worker: own === null ? 0 : worker }
      gates.set(key, new Gate({ ...options, ...gateSettings(settings) }))
    } else gates.set(key, known)
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
