/** Which upstreams of a configuration have a fair queue, under keys that mean the same in the next configuration. */

import type { FairQueueConfig, GatewayConfig } from '../config/schema.ts'
import { upstreamKeyOf } from '../upstream/endpoints.ts'

export interface QueuedUpstream {
  /** As logs and the admin port call it. */
  readonly name: string
  readonly settings: FairQueueConfig
}

/** All that routes lead to, by key: the same key is the same upstream, with one pool and one queue. */
export function queuedUpstreams(config: GatewayConfig): ReadonlyMap<string, QueuedUpstream> {
  const queued = new Map<string, QueuedUpstream>()
  for (const route of config.routes) {
    const { upstream } = route
    const named = typeof upstream === 'string' && Object.hasOwn(config.upstreams, upstream)
    const target = named ? config.upstreams[upstream] : upstream
    if (typeof target !== 'object' || target.fairQueue === undefined) continue
    const name = typeof upstream === 'string' ? upstream : target.url
    queued.set(upstreamKeyOf(route, config)!, { name, settings: target.fairQueue })
  }
  return queued
}
