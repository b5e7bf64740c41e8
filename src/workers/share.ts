/** One worker's part of what the configuration grants to the gateway as a whole. */

import type { FairQueueConfig, GatewayConfig } from '../config/schema.ts'

interface Bounds {
  readonly maxConnections?: number | undefined
  readonly maxIdleConnections?: number | undefined
  readonly fairQueue?: FairQueueConfig | undefined
}

/**
 * Connections to upstreams and memory for tokens, divided: an upstream is to see no more of them because the gateway has
 * more threads. So are places in its queue; the slots themselves are shared. A worker cannot do without any, so where
 * there are fewer connections, or places, than workers each has one.
 */
export function shareOf(config: GatewayConfig, id: number, workers: number): GatewayConfig {
  if (workers === 1) return config
  const part = (whole: number): number => Math.floor(whole / workers) + (id < whole % workers ? 1 : 0)
  const bounded = <T extends Bounds>(settings: T): T => {
    const { maxConnections, maxIdleConnections, fairQueue } = settings
    return {
      ...settings,
      ...(maxConnections === undefined ? {} : { maxConnections: Math.max(1, part(maxConnections)) }),
      ...(maxIdleConnections === undefined ? {} : { maxIdleConnections: part(maxIdleConnections) }),
      ...(fairQueue === undefined
        ? {}
        : { fairQueue: { ...fairQueue, queueSize: Math.max(1, part(fairQueue.queueSize)) } }),
    }
  }
  return {
    ...config,
    identity: { ...config.identity, cacheSize: part(config.identity.cacheSize) },
    client: bounded(config.client),
    upstreams: Object.fromEntries(
      Object.entries(config.upstreams).map(([name, settings]) => [name, bounded(settings)]),
    ),
    routes: config.routes.map(route =>
      typeof route.upstream === 'object' ? { ...route, upstream: bounded(route.upstream) } : route,
    ),
  }
}
