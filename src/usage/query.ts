/** Which usage is asked for, by the parameters of a URL or the options of a command. */

import { SUMS, type UsageSums } from './account.ts'
import { daysBetween, isDay } from './day.ts'
import { DIMENSIONS, type Dimension, type UsageQuery, type UsageRecord } from './store.ts'

/** What was given, as text. */
export interface QueryTexts {
  readonly company?: string | undefined
  readonly route?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly by?: string | undefined
}

/** Days that one question may span: ten years. */
const MAX_DAYS = 3_660

/**
 * Default: this month up to today, everything told apart.
 * @param today `YYYY-MM-DD`
 * @returns the query, or what is wrong with the texts
 */
export function usageQuery(given: QueryTexts, today: string): UsageQuery | string {
  const to = given.to ?? today
  if (!isDay(to)) return `to must be a day like ${today}`
  const from = given.from ?? `${to.slice(0, 8)}01`
  if (!isDay(from)) return `from must be a day like ${today}`
  if (from > to) return `from (${from}) comes after to (${to})`
  if (daysBetween(from, to) >= MAX_DAYS) return `from and to span more than ${MAX_DAYS} days`
  const by = given.by === undefined ? DIMENSIONS : given.by.split(',')
  const unknown = by.find(name => !DIMENSIONS.includes(name as Dimension))
  if (unknown !== undefined || new Set(by).size < by.length)
    return `by must be one or more of ${DIMENSIONS.join(', ')}, joined by commas`
  return { from, to, company: given.company ?? null, route: given.route ?? null, by: by as Dimension[] }
}

/** Sums rows up by what a query tells apart, in order, as SQL would. */
export function group(rows: readonly Required<UsageRecord>[], { by, route }: UsageQuery): UsageRecord[] {
  const groups = new Map<string, UsageRecord>()
  for (const row of rows) {
    if (route !== null && row.route !== route) continue
    const key = JSON.stringify(by.map(name => row[name]))
    const sums = groups.get(key)
    if (sums !== undefined) addSums(sums, row)
    else groups.set(key, { ...Object.fromEntries(by.map(name => [name, row[name]])), ...sumsOf(row) })
  }
  return [...groups.values()].sort((a, b) => {
    const name = by.find(each => a[each] !== b[each])
    return name === undefined ? 0 : a[name]! < b[name]! ? -1 : 1
  })
}

export function totalOf(rows: readonly UsageSums[]): UsageSums {
  const total = Object.fromEntries(SUMS.map(name => [name, 0])) as unknown as UsageSums
  for (const row of rows) addSums(total, row)
  return total
}

function sumsOf(row: UsageSums): UsageSums {
  return Object.fromEntries(SUMS.map(name => [name, row[name]])) as unknown as UsageSums
}

function addSums(sums: UsageSums, more: UsageSums): void {
  for (const name of SUMS) sums[name] += more[name]
}
