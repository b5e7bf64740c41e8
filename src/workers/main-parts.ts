/** What the main thread has open for the whole process, whether it serves or supervises. Each is null where it is not configured. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import type { RedisLink } from '../redis/link.ts'
import { openMainLink } from '../redis/main-link.ts'
import { type OpenUsage, openUsage } from '../usage/open.ts'

export interface MainParts {
  readonly link: RedisLink | null
  readonly usage: OpenUsage | null
  /** To be called behind the last exchange: what was counted is written down. */
  close(): Promise<void>
}

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
    return {
      link,
      usage,
      async close() {
        await usage?.ledger.close()
        link?.close()
      },
    }
  } catch (error) {
    link?.close()
    throw error
  }
}
