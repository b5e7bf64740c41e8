import { performance } from 'node:perf_hooks'

/** Milliseconds of the clock that only goes forward. Bound here, since the global of that name is looked up at each use. */
export const now = (): number => performance.now()
