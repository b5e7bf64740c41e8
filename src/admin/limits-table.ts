/** What limits did so far, in numbers: for whoever asks why requests are refused. */

import type { GatewayConfig } from '../config/schema.ts'
import type { Board } from '../workers/board.ts'

export interface LimitsTable {
  readonly refused: number
  /** By rules with `dryRun`. */
  readonly would_refuse: number
  /** `off`: not configured; `down`: some worker cannot reach it. */
  readonly redis: 'up' | 'down' | 'off'
  /** Decisions of this process alone, since Redis was away. */
  readonly decided_locally: number
  /** Scripts that Redis was asked to run, and decisions that waited for one. */
  readonly redis_calls: number
  readonly redis_waits: number
  /** Times that the table of counters had no room: what it could not count was let pass. */
  readonly overflows: number
}

export function describeLimits({ redis }: Pick<GatewayConfig, 'redis'>, board: Board): LimitsTable {
  const { counters } = board
  // The only worker of a process says nothing of where it stands
  const ids = board.workers === 1 ? [0] : board.serving
  const up = ids.every(id => counters.cell(id, 'redisUp').value === 1)
  return {
    refused: counters.sum('limited'),
    would_refuse: counters.sum('wouldBeLimited'),
    redis: redis !== undefined ? (up ? 'up' : 'down') : 'off',
    decided_locally: counters.sum('limitsLocal'),
    redis_calls: counters.sum('redisCalls'),
    redis_waits: counters.sum('redisWaits'),
    overflows: board.limits.overflows,
  }
}
