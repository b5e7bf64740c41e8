/** Whether usage is counted, and where it is kept. */

import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import * as z from 'zod'
import type { GatewayConfig } from './schema.ts'
import { duration, timeZone } from './values.ts'

const DEFAULT_FILE = 'nyro-usage.db'

export const usageSchema = z.strictObject({
  store: z
    .enum(['sqlite', 'redis'])
    .optional()
    .describe('default: sqlite with a file or without redis, else redis'),
  file: z.string().min(1).optional().describe('SQLite file of this gateway; default: nyro-usage.db'),
  unsent: z
    .string()
    .min(1)
    .default('nyro-usage-unsent.json')
    .describe('file for what Redis did not take before the end, until the next start'),
  flush: duration.default(1).describe('time between two writes'),
  keep: z.int().min(1).max(3_660).default(400).describe('days that usage is kept'),
  timeZone: timeZone.default('UTC').describe('of the days that usage is counted by'),
})

export type UsageConfig = z.output<typeof usageSchema>

export type UsagePlace = { readonly kind: 'redis' } | { readonly kind: 'sqlite'; readonly file: string }

/** Where the usage of this configuration is kept. */
export function usagePlace({ store, file }: UsageConfig, redis: GatewayConfig['redis']): UsagePlace {
  const kind = store ?? (file === undefined && redis !== undefined ? 'redis' : 'sqlite')
  return kind === 'redis' ? { kind } : { kind, file: file ?? DEFAULT_FILE }
}

type Report = (path: readonly PropertyKey[], message: string) => void

export function checkUsage({ usage, redis }: GatewayConfig, report: Report): void {
  if (usage === undefined) return
  if (usage.flush <= 0) report(['usage', 'flush'], 'must be longer than 0')
  const place = usagePlace(usage, redis)
  if (place.kind === 'sqlite') {
    // A worker that comes later does not write it: what is wrong with the disk by then must not keep it from serving.
    if (isMainThread) checkFile(place.file, report)
    return
  }
  if (redis === undefined)
    report(['usage', 'store'], 'is redis, but there is none: set redis.url (GATEWAY_REDIS_URL)')
  if (usage.file !== undefined)
    report(['usage', 'file'], 'belongs to the store sqlite, but the store is redis: keep one')
}

/** Counting that fails from the first second on is better told before it begins. */
function checkFile(file: string, report: Report): void {
  const path = ['usage', 'file']
  const remedy = 'name a file in a directory that the gateway may write to (GATEWAY_USAGE_FILE)'
  const directory = dirname(file)
  if (!isWritable(directory))
    return report(path, `${directory} is no directory that can be written to: ${remedy}`)
  const found = statSync(file, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isFile()) report(path, `${file} is no file: ${remedy}`)
  else if (!isWritable(file)) report(path, `${file} cannot be written to: ${remedy}`)
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
