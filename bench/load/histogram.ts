/**
 * Counts values in buckets whose width grows with the value: exact below 128, then 64 buckets for each doubling,
 * so that a percentile is at most 1.6 % above the value that was recorded, whatever the range.
 */
export class Histogram {
  readonly #counts: number[] = []
  #total = 0
  #most = 0

  /** @param value a number from 0 on; fractions are dropped */
  record(value: number): void {
    const bucket = bucketOf(value)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#total++
    if (value > this.#most) this.#most = value
  }

  get total(): number {
    return this.#total
  }

  get most(): number {
    return this.#most
  }

  /** The least value that `share` (0 to 1) of all recorded ones do not exceed, rounded up to its bucket's end. */
  percentile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#total))
    let passed = 0
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      passed += this.#counts[bucket] ?? 0
      if (passed >= rank) return Math.min(endOf(bucket), this.#most)
    }
    throw new RangeError('nothing was recorded')
  }
}

const EXACT = 128
const HALF = EXACT / 2

function bucketOf(value: number): number {
  const whole = Math.floor(value)
  if (whole < EXACT) return whole
  const doublings = Math.floor(Math.log2(whole)) - 6
  return doublings * HALF + Math.floor(whole / 2 ** doublings)
}

/** The highest whole value that falls into a bucket. */
function endOf(bucket: number): number {
  if (bucket < EXACT) return bucket
  const doublings = Math.floor(bucket / HALF) - 1
  return (bucket - doublings * HALF + 1) * 2 ** doublings - 1
}
