/** The middle of several measurements and how far they lie apart. */
export type Spread = { median: number; least: number; most: number }

/** `values` must not be empty. */
export function spread(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.floor((sorted.length - 1) / 2)]
  const [least] = sorted
  const most = sorted.at(-1)
  if (upper === undefined || lower === undefined || least === undefined || most === undefined) {
    throw new RangeError('nothing was measured')
  }
  return { median: (upper + lower) / 2, least, most }
}

/**
 * The ratios of two series that were measured in turns, formed round by round: what disturbed a round
 * disturbed both, so their ratio is steadier than the ratio of their medians.
 */
export function pairwiseRatio(values: number[], others: number[]): Spread {
  return spread(values.slice(0, others.length).map((value, round) => value / others[round]!))
}
