/** Usage as others read it: JSON for programs, CSV for spreadsheets, a table for people. */

import { SUMS, type UsageSums } from './account.ts'
import { totalOf } from './query.ts'
import type { UsageQuery, UsageRecord } from './store.ts'

/** The names outside, which bills are made by: stable. */
const NAMES: Readonly<Record<keyof UsageSums, string>> = {
  requests: 'requests',
  errors: 'errors',
  refused: 'refused',
  bytesIn: 'bytes_in',
  bytesOut: 'bytes_out',
  cost: 'cost',
  upstreamSeconds: 'upstream_seconds',
}

/** Sums of many small fractions, to the microsecond. */
const rounded = (amount: number): number => Math.round(amount * 1e6) / 1e6

export function usageObject(rows: readonly UsageRecord[], query: UsageQuery, timeZone: string): object {
  const sums = (row: UsageSums): object =>
    Object.fromEntries(SUMS.map(name => [NAMES[name], rounded(row[name])]))
  return {
    from: query.from,
    to: query.to,
    time_zone: timeZone,
    rows: rows.map(row => ({
      ...Object.fromEntries(query.by.map(name => [name, row[name] || null])),
      ...sums(row),
    })),
    total: sums(totalOf(rows)),
  }
}

/** RFC 4180. */
export function usageCsv(rows: readonly UsageRecord[], { by }: UsageQuery): string {
  const lines = rows.map(row => [
    ...by.map(name => textCell(row[name]!)),
    ...SUMS.map(name => String(rounded(row[name]))),
  ])
  return [[...by, ...SUMS.map(name => NAMES[name])], ...lines].map(line => `${line.join(',')}\r\n`).join('')
}

/** What begins like a formula would be one to a spreadsheet: whoever chose the name of a company would run it. */
const FORMULA = /^[=+\-@\t\r]/

function textCell(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export function usageTable(rows: readonly UsageRecord[], { by }: UsageQuery): string {
  const heads = [...by, ...SUMS.map(name => NAMES[name])].map(name => name.replace('_', ' ').toUpperCase())
  const sums = (row: UsageSums): string[] => SUMS.map(name => String(Math.round(row[name] * 1000) / 1000))
  const lines = rows.map(row => [...by.map(name => printable(row[name]!)), ...sums(row)])
  const total = ['TOTAL', ...by.slice(1).map(() => ''), ...sums(totalOf(rows))]
  const all = [heads, ...lines, total]
  const widths = heads.map((_, column) => Math.max(...all.map(line => line[column]!.length)))
  const shown = (cell: string, column: number): string =>
    column < by.length ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
  return all.map(line => `${line.map(shown).join('  ').trimEnd()}\n`).join('')
}

/** Names of routes may hold anything; a terminal must not obey it. */
function printable(text: string): string {
  return text === '' ? '-' : text.replace(/[\p{Cc}\p{Cf}]/gu, '?')
}
