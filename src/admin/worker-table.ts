import type { Board, WorkerState } from '../workers/board.ts'

/** What the supervisor knows of a worker beside what is on the board. */
export interface WorkerLife {
  readonly id: number
  readonly restarts: number
  /** Seconds. */
  readonly uptime: number
}

export interface WorkerDescription extends WorkerLife {
  readonly state: WorkerState | 'draining'
  /** Open client connections. */
  readonly connections: number
  /** Exchanges that have ended, also those of threads that died. */
  readonly requests: number
}

/** The workers as they are, for people and for monitoring. */
export function describeWorkers(workers: readonly WorkerLife[], board: Board): WorkerDescription[] {
  return workers.map(({ id, restarts, uptime }) => ({
    id,
    state: stateOf(id, board),
    connections: board.connections(id),
    requests: board.requests(id),
    restarts,
    uptime: Math.round(uptime * 1000) / 1000,
  }))
}

function stateOf(id: number, board: Board): WorkerDescription['state'] {
  const state = board.state(id)
  return board.phase === 'draining' && state !== 'down' ? 'draining' : state
}
