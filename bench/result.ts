import type { Chart } from './chart.ts'
import type { PanelChart } from './panels.ts'
import { pairwiseRatio, type Spread, spread } from './statistics.ts'
import { MEBIBYTE } from './upstream/content.ts'

export type Table = { columns: string[]; rows: string[][] }

/** What one turn of one entry gave: raw figures by name. */
export type Sample = { entry: string; round: number; figures: Record<string, number> }

/** What one scenario found: for people (table, notes, chart) and raw (samples), from which goals are judged. */
export type Result = {
  scenario: string
  title: string
  table: Table
  notes: string[]
  /** What went wrong on the way; a run that has any does not count as a success. */
  faults: string[]
  chart: Chart | PanelChart
  samples: Sample[]
}

/** A figure of one entry over the rounds; null when it was not measured. */
export function figureOf(samples: Sample[], entry: string, figure: string): Spread | null {
  const values = [...byRound(samples, entry, figure).values()]
  return values.length === 0 ? null : spread(values)
}

/** A figure of one entry over the same of another, formed round by round; null when one was not measured. */
export function ratioOf(samples: Sample[], entry: string, against: string, figure: string): Spread | null {
  const others = byRound(samples, against, figure)
  const pairs = [...byRound(samples, entry, figure)].filter(([round]) => others.has(round))
  if (pairs.length === 0) return null
  return pairwiseRatio(
    pairs.map(([, value]) => value),
    pairs.map(([round]) => others.get(round)!),
  )
}

export function withRange({ median, least, most }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${least.toFixed(digits)}..${most.toFixed(digits)})`
}

export function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1)
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`
}

/** What a report says of an error: its first line. Traces and output belong on the terminal. */
export function firstLine(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
  return line.replace(/:$/, '')
}

function byRound(samples: Sample[], entry: string, figure: string): Map<number, number> {
  return new Map(
    samples
      .filter(sample => sample.entry === entry && sample.figures[figure] !== undefined)
      .map(sample => [sample.round, sample.figures[figure]!]),
  )
}
