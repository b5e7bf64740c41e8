import type { Chart } from './chart.ts'
import { MEBIBYTE } from './upstream/content.ts'

export type Table = { columns: string[]; rows: string[][] }

/** A figure that must stay at or below its limit. */
export type Target = { what: string; value: number; limit: number; unit: string }

/** What one scenario found: for people (table, notes, chart), for the verdict (targets) and raw (data). */
export type Result = {
  scenario: 'small' | 'transfer' | 'startup'
  title: string
  table: Table
  notes: string[]
  targets: Target[]
  /** What went wrong on the way; a run that has any does not count as a success. */
  faults: string[]
  chart: Chart
  data: unknown
}

export function mebibytes(bytes: number): string {
  return (bytes / MEBIBYTE).toFixed(1)
}

export function verdict({ what, value, limit, unit }: Target): string {
  const outcome = value <= limit ? 'reached' : `missed by ${percent(value / limit - 1)}`
  return `${what}: ${value.toFixed(2)} ${unit}, target ${limit} ${unit}: ${outcome}`
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`
}

/** What a report says of an error: its first line. Traces and output belong on the terminal. */
export function firstLine(error: unknown): string {
  const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
  return line.replace(/:$/, '')
}
