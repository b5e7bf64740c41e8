/**
 * Ticks more finely than the 1 ms of timers. It runs in a thread of its own, sleeps on a futex (which takes fractions of
 * a millisecond) instead of spinning, since load and upstream share a core, and leaves out a tick while the thread
 * that it drives is still busy with the last one.
 */

import { parentPort, Worker, workerData } from 'node:worker_threads'

type Shared = { cells: Int32Array; everyMilliseconds: number }

const STOPPED = 0
const PENDING = 1

export type Metronome = { stop: () => Promise<void> }

/** Calls `onTick` about every `everyMilliseconds`, which may be a fraction. */
export function metronome(everyMilliseconds: number, onTick: () => void): Metronome {
  const cells = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { cells, everyMilliseconds } satisfies Shared,
  })
  worker.on('message', () => {
    Atomics.store(cells, PENDING, 0)
    onTick()
  })
  return {
    stop: async () => {
      Atomics.store(cells, STOPPED, 1)
      Atomics.notify(cells, STOPPED)
      await worker.terminate()
    },
  }
}

if (parentPort !== null) tick(workerData as Shared)

function tick({ cells, everyMilliseconds }: Shared): void {
  let next = performance.now()
  while (Atomics.load(cells, STOPPED) === 0) {
    next = Math.max(next + everyMilliseconds, performance.now() - everyMilliseconds)
    Atomics.wait(cells, STOPPED, 0, Math.max(0, next - performance.now()))
    if (Atomics.exchange(cells, PENDING, 1) === 0) parentPort?.postMessage(null)
  }
}
