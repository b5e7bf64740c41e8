/** One of two threads in the stress test of revocations: it revokes a user, or all but one of the user's sessions, in step. */

import { workerData } from 'node:worker_threads'
import { type RevocationBuffers, Revocations } from './revocations.ts'

export interface Race {
  readonly buffers: RevocationBuffers
  /** One word: how many times a thread has arrived. */
  readonly arrivals: SharedArrayBuffer
  readonly rounds: number
  readonly spares: boolean
  readonly now: number
}

const { buffers, arrivals, rounds, spares, now } = workerData as Race
const revocations = Revocations.attach(buffers)
const arrived = new Int32Array(arrivals)
const until = now + 3_600_000

for (let round = 0; round < rounds; round++) {
  Atomics.add(arrived, 0, 1)
  // Both leave as closely together as can be: no wait that somebody would have to wake them from.
  while (Atomics.load(arrived, 0) < 2 * (round + 1));
  const user = `user-${round}`
  const done = spares
    ? revocations.revokeOthers(user, `session-${round}`, until, now)
    : revocations.revoke('user', user, until, now)
  if (!done) throw new Error(`no room in round ${round}`)
}
