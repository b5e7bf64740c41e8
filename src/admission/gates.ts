/** The gates of one thread: one for each upstream that has a fair queue, whichever routes lead to it. */

import type { GatewayConfig, RouteConfig } from '../config/schema.ts'
import { queuedUpstreams, queueOf } from '../config/upstreams.ts'
import { Admission } from './admission.ts'
import { Gate } from './gate.ts'

/** The place of a thread in what all threads share. */
export interface AdmissionSeat {
  readonly admission: Admission
  readonly worker: number
}

/** @returns the gate of a route, which is at that index; null: its upstream has none */
export function gatesOf(
  config: GatewayConfig,
  seat: AdmissionSeat = { admission: Admission.create(queuedUpstreams(config), 1), worker: 0 },
): (route: RouteConfig, index: number) => Gate | null {
  const gates = new Map<string, Gate>()
  return (route, index) => {
    const found = queueOf(config, route, index)
    if (found === null) return null
    const { name, settings } = found
    let gate = gates.get(name)
    if (gate === undefined) {
      const own = seat.admission.at(name)
      const { slots, tags } = own ?? Admission.create([name], 1).at(name)!
      const { concurrency, minConcurrency, maxConcurrency, queueSize, queueTimeout } = settings
      gate = new Gate({
        upstream: name,
        slots,
        tags,
        worker: own === null ? 0 : seat.worker,
        queueSize,
        queueTimeout: queueTimeout * 1000,
        concurrency: concurrency === 'adaptive' ? { min: minConcurrency, max: maxConcurrency } : concurrency,
      })
      gates.set(name, gate)
    }
    return gate
  }
}
