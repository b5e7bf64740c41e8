/** What the main thread has open for the whole process, whether it serves or supervises. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import type { RedisLink } from '../redis/link.ts'
import { openMainLink } from '../redis/main-link.ts'
import { RULING_FORM } from '../redis/ruling-text.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import { type OpenUsage, openUsage } from '../usage/open.ts'
import { QuotaKeeper } from '../usage/quota-keeper.ts'
import { Blocking } from './blocking.ts'
import { within } from './drain.ts'

export interface MainParts {
  /** Null: no Redis is configured. */
  readonly link: RedisLink | null
  /** Null: usage is not counted. */
  readonly usage: OpenUsage | null
  readonly blocking: Blocking
  /** Quotas as they were are put into these counters, and kept from now on. */
  keepQuotas(counters: SharedCounters): QuotaKeeper | null
  /** What should be known before the first request is known by then, or is not waited for any longer. */
  prepared(): Promise<void>
  /** To be called behind the last exchange: what was counted is written down. */
  close(): Promise<void>
}

/** Seconds that a start waits for what others know. */
const PATIENCE = 2

/**
 * @param workers threads that serve; 0: this one does
 * @throws when one of them cannot be opened; none is left open then
 */
export async function openMainParts(
  config: GatewayConfig,
  logger: Logger,
  workers: number,
): Promise<MainParts> {
  const link = await openMainLink(config, logger)
  try {
    const usage = await openUsage(config, link, logger, workers)
    const blocking = new Blocking()
    const shared = link === null ? null : await shareBlocks(blocking, link, logger)
    let quotas: QuotaKeeper | null = null
    return {
      link,
      usage,
      blocking,
      keepQuotas(counters) {
        // Several gateways share theirs in Redis
        if (link !== null || !usage?.quotas) return null
        quotas = new QuotaKeeper(usage.quotas, counters, logger)
        quotas.restore(config)
        return quotas
      },
      async prepared() {
        if (shared === null || (await within(PATIENCE, shared.known))) return
        logger.warn('Blocks of other gateways are not known yet: Redis does not answer')
        void shared.known.then(() => logger.info('Blocks of other gateways are known'))
      },
      async close() {
        shared?.close()
        blocking.close()
        quotas?.close()
        await usage?.ledger.close()
        link?.close()
      },
    }
  } catch (error) {
    link?.close()
    throw error
  }
}

async function shareBlocks(blocking: Blocking, link: RedisLink, logger: Logger) {
  const { SharedBook } = await import('../redis/shared-book.ts')
  const shared = new SharedBook(link, blocking, RULING_FORM, {
    onRefused: reason => logger.error({ reason }, 'Blocks cannot be shared: Redis refuses'),
    onLost: count => logger.error({ count }, 'Blocks of other gateways found no room'),
  })
  blocking.shareWith(shared)
  return shared
}
