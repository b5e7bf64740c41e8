/** Configuration → the ledger of a process, or the store that a command reads. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import { type UsageConfig, usagePlace } from '../config/usage.ts'
import type { RedisLink } from '../redis/link.ts'
import { UsageLedger } from './ledger.ts'
import type { QuotaTable } from './quota-table.ts'
import { RedisStore } from './redis-store.ts'
import { createRing, RingReader } from './ring.ts'
import { SqliteStore } from './sqlite-store.ts'
import type { UsageStore } from './store.ts'
import { Unsent } from './unsent.ts'

export interface OpenUsage {
  readonly ledger: UsageLedger
  readonly workers: readonly WorkerUsage[]
  /** Keeps quotas over restarts; null: this store does not. */
  readonly quotas: QuotaTable | null
}

/** What a worker needs to count. The days are those of the ledger, whatever its own configuration says by then. */
export interface WorkerUsage {
  readonly ring: SharedArrayBuffer
  readonly timeZone: string
}

/**
 * @param link of the thread that opens it
 * @param workers threads that count for this one; 0: it counts by itself
 * @returns null where usage is not configured
 * @throws when the file cannot be used
 */
export async function openUsage(
  { usage, redis }: GatewayConfig,
  link: RedisLink | null,
  logger: Logger,
  workers: number,
): Promise<OpenUsage | null> {
  if (usage === undefined) return null
  const store = await storeOf(usage, redis, link)
  const rings = Array.from({ length: workers }, () => createRing())
  const ledger = new UsageLedger({
    store,
    timeZone: usage.timeZone,
    rings: rings.map(ring => new RingReader(ring)),
    flush: usage.flush,
    logger,
    unsent: store instanceof RedisStore ? unsentOf(usage, logger) : null,
  })
  return {
    ledger,
    workers: rings.map(ring => ({ ring, timeZone: usage.timeZone })),
    quotas: store instanceof SqliteStore ? store.quotas : null,
  }
}

async function storeOf(
  usage: UsageConfig,
  redis: GatewayConfig['redis'],
  link: RedisLink | null,
): Promise<UsageStore> {
  const place = usagePlace(usage, redis)
  return place.kind === 'redis' ? new RedisStore(link!, usage.keep) : SqliteStore.open(place.file, usage.keep)
}

function unsentOf({ unsent }: UsageConfig, logger: Logger): Unsent {
  return new Unsent(unsent, {
    onDelivered: (requests, file) => logger.info({ requests, file }, 'Usage of an earlier run is written'),
    onUnreadable: (file, error) => logger.error({ file, error }, 'Usage of an earlier run cannot be read'),
  })
}

/** Seconds for Redis to answer somebody who waits for it. */
const PATIENCE = 5

/**
 * For a command beside the gateways that count.
 * @throws when there is nothing to read
 */
export async function openUsageToRead(
  usage: UsageConfig,
  redis: GatewayConfig['redis'],
): Promise<UsageStore> {
  const place = usagePlace(usage, redis)
  if (place.kind === 'sqlite') return SqliteStore.openToRead(place.file)
  const { RedisLink } = await import('../redis/link.ts')
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const link = new RedisLink(
    { ...redis!, timeout: PATIENCE },
    { onUp: resolve, onDown: reason => reject(new Error(`Redis does not answer: ${reason}`)) },
  )
  try {
    await promise
  } catch (error) {
    link.close()
    throw error
  }
  const store = new RedisStore(link, usage.keep)
  return { add: batch => store.add(batch), read: query => store.read(query), close: () => link.close() }
}
