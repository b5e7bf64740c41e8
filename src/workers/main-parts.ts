/** What the main thread has open for the whole process, whether it serves or supervises. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import type { RedisLink } from '../redis/link.ts'
import { openMainLink } from '../redis/main-link.ts'
import { REVOCATION_FORM } from '../redis/revocation-text.ts'
import { RULING_FORM } from '../redis/ruling-text.ts'
import type { SharedBookEvents } from '../redis/shared-book.ts'
import type { Revocations } from '../store/revocations.ts'
import type { SharedCounters } from '../store/shared-counters.ts'
import { type OpenUsage, openUsage } from '../usage/open.ts'
import { QuotaKeeper } from '../usage/quota-keeper.ts'
import { Blocking } from './blocking.ts'
import { within } from './drain.ts'
import { Revoking } from './revoking.ts'

export interface MainParts {
  /** Null: no Redis is configured. */
  readonly link: RedisLink | null
  /** Null: usage is not counted. */
  readonly usage: OpenUsage | null
  readonly blocking: Blocking
  /** Null: there are no other gateways to be told. */
  readonly revoking: Revoking | null
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
 * @param revocations as all threads of this process see them
 * @param workers threads that serve; 0: this one does
 * @throws when one of them cannot be opened; none is left open then
 */
export async function openMainParts(
  config: GatewayConfig,
  logger: Logger,
  revocations: Revocations,
  workers: number,
): Promise<MainParts> {
  const link = await openMainLink(config, logger)
  try {
    const usage = await openUsage(config, link, logger, workers)
    const blocking = new Blocking()
    const revoking = link === null ? null : new Revoking(revocations)
    const shared = link === null ? [] : await shareBooks(blocking, revoking!, link, logger)
    let quotas: QuotaKeeper | null = null
    return {
      link,
      usage,
      blocking,
      revoking,
      keepQuotas(counters) {
        // Several gateways share theirs in Redis
        if (link !== null || !usage?.quotas) return null
        quotas = new QuotaKeeper(usage.quotas, counters, logger)
        quotas.restore(config)
        return quotas
      },
      async prepared() {
        const known = Promise.all(shared.map(book => book.known))
        if (await within(PATIENCE, known)) return
        logger.warn('Blocks and revocations of other gateways are not known yet: Redis does not answer')
        void known.then(() => logger.info('Blocks and revocations of other gateways are known'))
      },
      async close() {
        await Promise.all(shared.map(book => book.close()))
        blocking.close()
        revoking?.close()
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

async function shareBooks(blocking: Blocking, revoking: Revoking, link: RedisLink, logger: Logger) {
  const { SharedBook } = await import('../redis/shared-book.ts')
  const eventsOf = (what: string): SharedBookEvents => ({
    onRefused: reason => logger.error({ reason }, `${what} cannot be shared: Redis refuses`),
    onLost: count => logger.error({ count }, `${what} of other gateways found no room`),
  })
  const blocks = new SharedBook(link, blocking, RULING_FORM, eventsOf('Blocks'))
  const revocations = new SharedBook(link, revoking, REVOCATION_FORM, eventsOf('Revocations'))
  blocking.shareWith(blocks)
  revoking.shareWith(revocations)
  return [blocks, revocations]
}
