/** Chance that is the same in each run: a number that follows from a seed and a place (the mixer of mulberry32). */

import { MEAN_MILLISECONDS } from '../upstream/limited-paths.ts'

/** From 0 on, less than 1. */
export function chance(seed: number, place: number): number {
  let mixed = (Math.imul(seed + 1, 0x9e3779b1) + Math.imul(place + 1, 0x6d2b79f5)) | 0
  mixed = Math.imul(mixed ^ (mixed >>> 15), 1 | mixed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}

/** The pause before an arrival, 1 in the mean, as of a Poisson process. */
export function pauseBefore(seed: number, arrival: number): number {
  return -Math.log(1 - chance(seed, arrival))
}

/** Milliseconds that a request takes at the service: within a fifth of the mean. */
export function serviceTime(seed: number, request: number): number {
  return MEAN_MILLISECONDS * (0.8 + 0.4 * chance(seed + 1_000_000, request))
}
