/** Where a worker keeps the state of limits: in the memory of the process, or with other gateways in Redis. */

import type { Logger } from 'pino'
import type { GatewayConfig } from '../config/schema.ts'
import { LocalStore, type QuotaBegun } from '../limits/local-store.ts'
import type { LimitStore } from '../limits/meter.ts'
import { Slots } from '../limits/slots.ts'
import type { RedisLink } from '../redis/link.ts'
import { DECLINED } from '../store/shared-counters.ts'
import type { Board } from './board.ts'
import { seldom } from './seldom.ts'

export interface OpenLimits {
  readonly store: LimitStore
  /** To the Redis that has a part in it; null: none is configured. */
  readonly link: RedisLink | null
  /** Before the end: says goodbye to the other gateways. */
  leave(): Promise<void>
  close(): void
}

const TOLD_MS = 365 * 86_400_000

interface OpenLimitsOptions {
  readonly config: Pick<GatewayConfig, 'redis'>
  readonly board: Board
  readonly id: number
  readonly logger: Logger
  /** Told of quotas that nobody but this process keeps. */
  readonly onQuota?: QuotaBegun | undefined
}

/**
 * The client of Redis is loaded for those who name one, and by nobody else: also where there are no limits yet, since a
 * reload may bring some.
 */
export async function openLimits({
  config: { redis },
  board,
  id,
  logger,
  onQuota,
}: OpenLimitsOptions): Promise<OpenLimits> {
  const slots = new Slots(board.limits, board.era)
  if (redis === undefined) {
    const store = new LocalStore(board.limits, slots, onQuota)
    return { store, link: null, leave: async () => {}, close: () => {} }
  }
  const { RedisStore } = await import('../limits/redis-store.ts')
  const told = board.limits.key('redis is away')
  /** The first worker that loses Redis speaks for all, and the last that has it again. */
  const tellOfEnd = (): void => {
    const ids = board.workers === 1 ? [id] : board.serving
    const all = ids.every(each => board.counters.cell(each, 'redisUp').value === 1)
    if (all && board.limits.draw(told, 1, Date.now()) !== DECLINED)
      logger.info('Redis is back: what it decides is shared again')
  }
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
        const now = Date.now()
        if (board.limits.take(told, 1, 1, now + TOLD_MS, now) !== false)
          logger.warn({ reason }, 'Redis is away: this gateway decides alone')
      },
      onUp: tellOfEnd,
      onRefused(reason) {
        if (seldom(board.limits, 'redis refused'))
          logger.error({ reason }, 'Redis refuses what is asked of it: limits are decided locally')
      },
    },
  })
  await store.known
  // In the place of one that died while Redis was away
  if (store.up) tellOfEnd()
  return { store, link: store.link, leave: () => store.leave(), close: () => store.close() }
}
