/** How many workers there will be: what was asked for, as far as this machine and this process can have it. */

import { createServer } from 'node:net'
import type { GatewayConfig } from '../config/schema.ts'
import { MAX_WORKERS } from '../config/schema.ts'
import { listening } from '../listening.ts'
import { grantedCpus } from './granted-cpus.ts'

export interface Plan {
  readonly workers: number
  /** Why it is one worker, where more were wanted. */
  readonly warning: string | null
}

export async function planWorkers({ server }: GatewayConfig): Promise<Plan> {
  const wanted = server.workers === 'auto' ? Math.min(MAX_WORKERS, grantedCpus()) : server.workers
  const obstacle = wanted === 1 ? null : await findObstacle()
  if (obstacle === null) return { workers: wanted, warning: null }
  return { workers: 1, warning: `One worker serves instead of ${wanted}: ${obstacle}` }
}

async function findObstacle(): Promise<string | null> {
  if (process.permission !== undefined && !process.permission.has('worker')) {
    return 'the permissions of this process allow no threads (--allow-worker)'
  }
  // macOS and Windows have no way to share a port that spreads connections.
  const probe = createServer()
  try {
    await listening(probe, 0, '127.0.0.1', true)
    return null
  } catch (error) {
    return `this system does not share a port among listeners (${(error as NodeJS.ErrnoException).code})`
  } finally {
    probe.close()
  }
}
