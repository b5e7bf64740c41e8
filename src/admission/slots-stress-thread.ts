/** What one thread does in the stress test of the slots: takes, looks whether there are too many, gives. */

import { workerData } from 'node:worker_threads'
import { Slots } from './slots.ts'

interface Task {
  readonly buffer: SharedArrayBuffer
  readonly results: SharedArrayBuffer
  readonly worker: number
}

if (workerData !== null) work(workerData as Task)

function work({ buffer, results, worker }: Task): void {
  const slots = Slots.attach(buffer)
  const tally = new Int32Array(results)
  for (let turn = 0; turn < 100_000; turn++) {
    const inUse = slots.take(worker)
    if (inUse === 0) continue
    Atomics.add(tally, 0, 1)
    if (slots.view.inUse > slots.limit) Atomics.add(tally, 1, 1)
    slots.give(worker)
  }
}
