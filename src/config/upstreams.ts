/** Which upstream a route leads to, by name: the same name is the same upstream, with one pool and one queue. */

import type { FairQueueConfig, GatewayConfig, RouteConfig, UpstreamConfig } from './schema.ts'

/** @param place where the configuration has it, for one that a route holds itself */
export function upstreamName(upstream: string | UpstreamConfig, place: string): string {
  return typeof upstream === 'string' ? upstream : `${place} ${upstream.url}`
}

/** The fair queue that a route, at that index, has to pass; null: there is none. */
export function queueOf(
  { upstreams }: GatewayConfig,
  { upstream }: RouteConfig,
  index: number,
): { readonly name: string; readonly settings: FairQueueConfig } | null {
  if (upstream === undefined) return null
  const named = typeof upstream === 'string' && Object.hasOwn(upstreams, upstream)
  const target = named ? upstreams[upstream] : upstream
  if (typeof target !== 'object' || target.fairQueue === undefined) return null
  return { name: upstreamName(upstream, `routes[${index}]`), settings: target.fairQueue }
}

/** The names of all upstreams with a fair queue that routes lead to. */
export function queuedUpstreams(config: GatewayConfig): string[] {
  const names = config.routes.map((route, index) => queueOf(config, route, index)?.name)
  return [...new Set(names.filter(name => name !== undefined))]
}
