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

/** Of the logarithm: one in a hundred takes three times as long as half of them, as services with a database behind them do. */
const SPREAD = 0.5

/** Milliseconds that a request takes at the service. */
export function serviceTime(seed: number, request: number): number {
  const [radius, angle] = [chance(seed + 1_000_000, request), chance(seed + 2_000_000, request)]
  const normal = Math.sqrt(-2 * Math.log(1 - radius)) * Math.cos(2 * Math.PI * angle)
  return MEAN_MILLISECONDS * Math.exp(SPREAD * normal - SPREAD ** 2 / 2)
}
