/** `nyro-gateway usage`: what was counted, read from where gateways with this configuration keep it. */

import { loadConfig } from '../config/load.ts'
import { Calendar } from '../limits/calendar.ts'
import { openUsageToRead } from '../usage/open.ts'
import { type QueryTexts, usageQuery } from '../usage/query.ts'
import { usageCsv, usageTable } from '../usage/report.ts'
import type { UsageRecord } from '../usage/store.ts'
import { CONFIG, FAILURE, reportProblems, USAGE } from './commands.ts'

export interface UsageOptions extends QueryTexts {
  readonly file: string | undefined
  readonly csv?: boolean | undefined
}

export async function usage(options: UsageOptions): Promise<number> {
  const loaded = await loadConfig({ file: options.file })
  if (loaded.config === null) return reportProblems(loaded)
  const { usage: settings, redis } = loaded.config
  if (settings === undefined)
    return fail(CONFIG, 'usage is not counted: put usage: {} into the config file, or set GATEWAY_USAGE_FILE')
  const query = usageQuery(options, new Calendar('day', settings.timeZone).at(Date.now()).label)
  if (typeof query === 'string') return fail(USAGE, `--${query}`)
  let rows: readonly UsageRecord[]
  try {
    const store = await openUsageToRead(settings, redis)
    try {
      rows = await store.read(query)
    } finally {
      store.close()
    }
  } catch (error) {
    return fail(FAILURE, (error as Error).message)
  }
  process.stdout.write(options.csv === true ? usageCsv(rows, query) : usageTable(rows, query))
  return 0
}

function fail(code: number, message: string): number {
  process.stderr.write(`nyro-gateway: ${message}\n`)
  return code
}
