/** Where a worker keeps tickets: in the memory of the process, or with other gateways in Redis. */

import type { Logger } from 'pino'
import type { RedisLink } from '../redis/link.ts'
import type { AskedTickets } from '../store/tickets.ts'
import type { Board } from './board.ts'
import { seldom } from './seldom.ts'

/** @param link null: no Redis is configured */
export async function openTickets(
  link: RedisLink | null,
  { limits, tickets }: Pick<Board, 'limits' | 'tickets'>,
  logger: Logger,
): Promise<AskedTickets> {
  if (link === null) return tickets
  const { SharedTickets } = await import('../redis/shared-tickets.ts')
  return new SharedTickets(link, tickets, limits, reason => {
    if (seldom(limits, 'tickets refused')) logger.error({ reason }, 'Tickets cannot be shared: Redis refuses')
  })
}
