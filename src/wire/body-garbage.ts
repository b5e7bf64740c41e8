/**
 * Keeps the memory of bodies that stream through from piling up. Every chunk is a buffer outside of the heap that is
 * dead as soon as it was written, but V8 looks for dead ones only after some 64 MiB of them. Asked after every 8 MiB
 * instead, it takes a fraction of a millisecond, and one large transfer holds a third of the memory
 * (figures in docs/architecture.md).
 */

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const BYTES_BETWEEN = 8 * 1024 ** 2

type Collect = (options: { type: 'minor' }) => void

let collect: Collect | null = null
let bytes = 0

/** Counts bytes of bodies; small ones never add up to much before V8 collects them by itself. */
export function countBodyBytes(length: number): void {
  bytes += length
  if (bytes < BYTES_BETWEEN) return
  bytes = 0
  collect ??= exposedCollect()
  collect({ type: 'minor' })
}

/** V8's own collector, which is a function only where it was asked for. */
function exposedCollect(): Collect {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}
