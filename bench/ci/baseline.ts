/** How the cost of a request is counted, the steadiest way first. */
export const METERS = ['perf', 'callgrind', 'cpu'] as const
export type Meter = (typeof METERS)[number]

export const QUESTIONS = ['small', 'refused'] as const
export type Name = (typeof QUESTIONS)[number]

/** Cost of a request by question: instructions, or for `cpu` the multiple of the yardstick's CPU time. */
export type Costs = Record<Name, number>

/** What was recorded; a meter that the recording machine did not have is absent. */
export type Baseline = { recorded: string; node: string } & { [meter in Meter]?: Costs }

/** By how much a figure may rise. Instructions repeat within a few percent; CPU time on shared cores does not. */
export const TOLERANCE: Record<Meter, number> = { perf: 0.1, callgrind: 0.15, cpu: 0.35 }

export const UNIT: Record<Meter, string> = {
  perf: 'instructions',
  callgrind: 'instructions',
  cpu: '× a bare node:http answer',
}

/** The steadiest meter that works here and that the baseline knows; null when there is none. */
export function chooseMeter(baseline: Baseline, available: readonly Meter[]): Meter | null {
  return METERS.find(meter => available.includes(meter) && baseline[meter] !== undefined) ?? null
}

/** The least of both measurements, question by question: noise only ever adds. */
export function leastOf(first: Costs, second: Costs): Costs {
  return { small: Math.min(first.small, second.small), refused: Math.min(first.refused, second.refused) }
}

/** Questions that cost more than the baseline allows. */
export function risen(meter: Meter, baseline: Costs, costs: Costs): Name[] {
  return QUESTIONS.filter(name => costs[name] > baseline[name] * (1 + TOLERANCE[meter]))
}

/** The result in one line. */
export function line(meter: Meter, baseline: Costs, costs: Costs): string {
  const figures = QUESTIONS.map(name => {
    const change = (costs[name] / baseline[name] - 1) * 100
    return `${name} ${shown(meter, costs[name])} (${change < 0 ? '−' : '+'}${Math.abs(change).toFixed(0)} %)`
  })
  const found = risen(meter, baseline, costs)
  const verdict = found.length === 0 ? 'within' : `${found.join(' and ')} risen by more than`
  return `bench: ${figures.join(', ')} ${UNIT[meter]}: ${verdict} ${TOLERANCE[meter] * 100} %`
}

function shown(meter: Meter, cost: number): string {
  return meter === 'cpu' ? cost.toFixed(2) : Math.round(cost).toLocaleString('en')
}
