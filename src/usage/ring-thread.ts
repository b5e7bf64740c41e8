/** The worker of the ring's stress test: counts into a small ring that is mostly full, and may die in the middle of it. */

import { workerData } from 'node:worker_threads'
import { Account } from './account.ts'
import { RingSink } from './ring-sink.ts'

export interface RingTask {
  readonly ring: SharedArrayBuffer
  readonly requests: number
  readonly accounts: number
}

const { ring, requests, accounts } = workerData as RingTask
const sink = new RingSink(ring)
const all = Array.from(
  { length: accounts },
  (_, index) => new Account('2026-11-27', `company-${index}`, `route é ${index % 3}`),
)
for (let request = 0; request < requests; request++) {
  sink.add(all[request % accounts]!, 1, request % 2, 0, request, 2 * request, 0.5, 0.25)
}
await sink.finish()
