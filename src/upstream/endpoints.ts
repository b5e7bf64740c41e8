/** The upstreams of a configuration: which there are, and whose connections are whose. */

import {
  type GatewayConfig,
  type RouteConfig,
  type UpstreamConfig,
  upstreamSchema,
} from '../config/schema.ts'
import { type Endpoint, endpointOf } from './endpoint.ts'

/**
 * Every upstream under its key. Routes that name the same upstream, or the same URL, share one; an upstream that stands in
 * a route is that route's own. A key means the same in the next configuration, so that connections can be kept.
 * @throws when a CA file cannot be read any more
 */
export function endpointsOf(config: GatewayConfig): ReadonlyMap<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>()
  for (const route of config.routes) {
    const { upstream } = route
    const key = upstreamKeyOf(route, config)
    if (upstream === undefined || key === null || endpoints.has(key)) continue
    const settings = settingsOf(upstream, config)
    const name = typeof upstream === 'string' ? upstream : upstream.url
    endpoints.set(key, endpointOf(name, settings, config.client))
  }
  return endpoints
}

/** null: the route has none. */
export function upstreamKeyOf(route: RouteConfig, config: GatewayConfig): string | null {
  const { upstream, name, host, path, methods, headers } = route
  if (upstream === undefined) return null
  if (typeof upstream === 'object') return `route ${JSON.stringify([name, host, path, methods, headers])}`
  return Object.hasOwn(config.upstreams, upstream) ? `name ${upstream}` : `url ${upstream}`
}

function settingsOf(upstream: string | UpstreamConfig, { upstreams }: GatewayConfig): UpstreamConfig {
  if (typeof upstream === 'object') return upstream
  return Object.hasOwn(upstreams, upstream) ? upstreams[upstream]! : upstreamSchema.parse({ url: upstream })
}
