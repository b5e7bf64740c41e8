/** Where a worker keeps the state of limits: in the memory of the process, or with other gateways in Redis. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import { LocalStore } from '../limits/local-store.ts'
import type { LimitStore } from '../limits/meter.ts'
import { Slots } from '../limits/slots.ts'
import type { Board } from './board.ts'

export interface OpenLimits {
  readonly store: LimitStore
  /** Before the end: says goodbye to the other gateways. */
  leave(): Promise<void>
  close(): void
}

const REFUSALS_TOLD_MS = 60_000

/** The client of Redis is loaded for those who name one, and by nobody else. */
export async function openLimits(
  { limits, redis }: GatewayConfig,
  board: Board,
  id: number,
  logger: Logger,
): Promise<OpenLimits> {
  const slots = new Slots(board.limits, board.era)
  if (redis === undefined || limits === undefined) {
    return { store: new LocalStore(board.limits, slots), leave: async () => {}, close: () => {} }
  }
  const { RedisStore } = await import('../limits/redis-store.ts')
  const speaks = id === 0
  const store = new RedisStore({
    config: redis,
    counters: board.limits,
    slots,
    cells: {
      local: board.counters.cell(id, 'limitsLocal'),
      waits: board.counters.cell(id, 'redisWaits'),
      calls: board.counters.cell(id, 'redisCalls'),
      up: board.counters.cell(id, 'redisUp'),
    },
    events: {
      onDown(reason) {
        if (speaks) logger.warn({ reason }, 'Redis is away: limits are decided locally')
      },
      onUp() {
        if (speaks) logger.info('Redis is back: limits are shared again')
      },
      onRefused(reason) {
        const now = Date.now()
        const key = board.limits.key('redis refused')
        if (board.limits.take(key, 1, 1, now + REFUSALS_TOLD_MS, now) === true)
          logger.error({ reason }, 'Redis refuses what is asked of it: limits are decided locally')
      },
    },
  })
  await store.known
  return { store, leave: () => store.leave(), close: () => store.close() }
}
